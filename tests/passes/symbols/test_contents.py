import pytest

from modelkit.model.dims import text
from modelkit.passes.infer_symbols import content_of, infer_symbols
from tests.passes.harness import model_of

CONSTANTS = """<int64 i0 = {0}, int64 i1 = {1}, int64[1] v0 = {0}, int64[1] v1 = {1},
 int64[1] v2 = {2}, int64[1] big = {9999}, int64[1] minus = {-1}, int64[3] ones = {1, 1, 1},
 int64 i2 = {2}, int64 i12 = {12}>"""


def found(*lines: str) -> list[str] | None:
    """The contents of ``r`` after ``lines``, for x of shape [batch, seq, 12]."""
    body = "\n".join(lines)
    model = model_of(
        f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[batch, seq, 12] x) => (int64[n] y) {CONSTANTS} {{
          s = Shape(x)
          {body}
          y = Abs(r)
        }}"""
    )
    infer_symbols(model)
    value = next(v for node in model.graph for v in node.outputs if v.name == "r")
    content = content_of(value)
    if content is None:
        return None
    items = ["?" if item is None else text(item) for item in content.items]
    return items if not content.scalar else ["scalar", *items]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["r = Identity(s)"], ["batch", "seq", "12"]),
        (["r = Gather(s, i1)"], ["scalar", "seq"]),
        (["r = Gather(s, minus)"], ["12"]),
        (["r = Slice(s, v1, big)"], ["seq", "12"]),
        (["r = Slice(s, v0, minus, v0)"], ["batch", "seq"]),
        (["r = Shape<start = 1, end = 2>(x)"], ["seq"]),
        (["r = Size(x)"], ["scalar", "12*batch*seq"]),
        (["a = Gather(s, i0)", "b = Unsqueeze(a, v0)", "r = Concat<axis = 0>(b, v2)"],
         ["batch", "2"]),
        (["a = Gather(s, i0)", "b = Gather(s, i1)", "r = Mul(a, b)"], ["scalar", "batch*seq"]),
        (["a = Gather(s, i1)", "r = Add(a, i1)"], ["scalar", "seq + 1"]),
        (["a = Gather(s, i1)", "r = Sub(a, i1)"], ["scalar", "seq - 1"]),
        (["a = Gather(s, i1)", "r = Div(a, i2)"], ["scalar", "((seq)//(2))"]),
        (["a = Gather(s, i2)", "r = Div(a, i2)"], ["scalar", "6"]),
        (["a = Gather(s, i1)", "b = Sub(a, i2)", "r = Div(b, i2)"], ["scalar", "?"]),
        (["a = Gather(s, i2)", "r = Mod(a, i2)"], ["scalar", "0"]),
        (["a = ReduceProd<keepdims = 0>(s)", "r = Cast<to = 7>(a)"], ["scalar", "12*batch*seq"]),
        (["r = ConstantOfShape<value = int64[1] {1}>(v2)"], ["1", "1"]),
        (["e = Equal(s, minus)", "r = Where(e, ones, s)"], ["batch", "seq", "12"]),
        (["r = Range(i0, i12, i2)"], ["0", "2", "4", "6", "8", "10"]),
        (["a = Expand(minus, ones)", "r = Squeeze(v2)"], ["scalar", "2"]),
        (["a = Gather(s, i1)", "b = Gather(s, i0)", "r = Max(a, b)"],
         ["scalar", "Max(batch, seq)"]),
        (["r = Neg(s)"], ["-batch", "-seq", "-12"]),
        (["a, b = Split<axis = 0>(s)", "r = Identity(s)"], ["batch", "seq", "12"]),
        (["r = CumSum(v2, i0)"], ["2"]),
    ],
)  # fmt: skip
def test_contents(lines: list[str], expected: list[str]) -> None:
    assert found(*lines) == expected


def test_what_cannot_be_told_is_not_guessed() -> None:
    assert found("a = Cast<to = 1>(s)", "b = Mul(a, a)", "r = Cast<to = 7>(b)") is None
    assert found("n = NonZero(x)", "r = Squeeze(n)") is None


def test_overflow_is_not_an_answer() -> None:
    big = "Constant<value_int = 4611686018427387904>()"
    assert found(f"b = {big}", "r = Mul(b, i2)") == ["scalar", "?"]


def test_an_index_past_the_end_is_left_to_the_runtime() -> None:
    assert found("r = Gather(s, big)") is None
