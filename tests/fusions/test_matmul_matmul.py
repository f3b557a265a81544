import pytest

from tests.harness import floats, rewritten

NAME = "matmul_matmul"
FEEDS = [{"x": floats(n, 3, 8, seed=n)} for n in (1, 2, 0)]


def text(body: str, inner: int = 20, more: str = "", out: str = "n, 3, 5") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 3, 8] x) => (float[{out}] y{more})
    <float[8, {inner}] w, float[{inner}] b, float[{inner}, 5] v> {{ m = MatMul(x, w) {body} }}"""


def test_two_layers_become_one() -> None:
    assert rewritten(text("y = MatMul(m, v)"), [NAME], FEEDS).operators == ["MatMul"]
    biased = text("a = Add(b, m) y = MatMul(a, v)")
    assert rewritten(biased, [NAME], FEEDS).operators == ["MatMul", "Add"]


@pytest.mark.parametrize(
    ("shape", "out"), [("-1, 20", "k, 5"), ("0, 0, 20", "n, 3, 5"), ("3, -1, 20", "3, k, 5")]
)
def test_rows_that_lie_otherwise_in_between(shape: str, out: str) -> None:
    source = text(
        f"s = Constant<value_ints=[{shape}]>() r = Reshape(m, s) y = MatMul(r, v)", out=out
    )
    assert rewritten(source, [NAME], FEEDS[:2]).operators == ["MatMul", "Reshape"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text("y = MatMul(m, v)", inner=3), ""),
        (text("r = Relu(m) y = MatMul(r, v)"), ""),
        (
            text("y = MatMul(m, v)", more=", float[n, 3, 20] m"),
            "'m' is an output of the graph",
        ),
        (
            text("y = MatMul(m, v) e = Neg(x) z = MatMul(e, w)", more=", float[n, 3, 20] z"),
            "one of its weights is used elsewhere too",
        ),
        (
            text(
                "s = Constant<value_ints=[0, 12, 5]>() r = Reshape(m, s) t = Transpose(v)"
                " y = MatMul(r, t)",
                out="a, b, c",
            ),
            "",
        ),
    ],
)
def test_what_is_less_work_as_it_is_stays(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], FEEDS)
    assert not result.counts
    assert result.reason(NAME) == reason


def test_columns_that_become_rows_are_refused() -> None:
    source = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 3, 8] x) => (float[k, 5] y)
    <float[8, 20] w, float[10, 5] v>
    { m = MatMul(x, w) s = Constant<value_ints=[-1, 10]>() r = Reshape(m, s) y = MatMul(r, v) }"""
    result = rewritten(source, [NAME], FEEDS[:2])
    assert not result.counts
    assert result.reason(NAME) == "what lies between does not keep the rows"
