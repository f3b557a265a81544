import pytest

from tests.harness import floats, rewritten

NAME = "reduce_in_steps"
SIZE = "96, 64, 48"
FEEDS = [{"x": floats(n, 96, 64, 48)} for n in (1, 2)]


def text(
    kind: str, *, axes: str = "[1, 2]", keepdims: int = 1, opset: int = 18, size: str = SIZE
) -> str:
    call = f"{kind}<keepdims={keepdims}>(x, a)"
    if opset < 18:
        call = f"{kind}<axes={axes}, keepdims={keepdims}>(x)"
    kept = "1, 1, " * keepdims
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
    g (float[n, {size}] x) => (float[n, {kept}c] y)
    {{ a = Constant<value_ints={axes}>() y = {call} }}"""


@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"])
@pytest.mark.parametrize("axes", ["[1, 2]", "[-2, -3]"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [12, 18])
def test_one_side_then_the_other(kind: str, axes: str, keepdims: int, opset: int) -> None:
    opset = 18 if kind == "ReduceSum" else opset
    source = text(kind, axes=axes, keepdims=keepdims, opset=opset)
    result = rewritten(source, [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators == [kind, kind]


def test_no_images() -> None:
    result = rewritten(text("ReduceMean"), [NAME], [{"x": floats(0, 96, 64, 48)}])
    assert result.counts == {NAME: 1}


def test_sums_of_squares_are_no_sums_of_those() -> None:
    assert not rewritten(text("ReduceSumSquare"), [NAME], FEEDS[:1]).counts


@pytest.mark.parametrize("axes", ["[2, 3]", "[2]", "[0, 1]", "[0, 1, 2]"])
def test_other_axes_are_left(axes: str) -> None:
    source = text("ReduceMean", axes=axes).replace("float[n, 1, 1, c] y", "float[i, j, k, l] y")
    assert not rewritten(source, [NAME], FEEDS[:1]).counts


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ("32, 64, 48", "the map is too small to gain"),
        ("1, 6144, 48", "the map is too small to gain"),
        ("h, 64, 48", "the sizes of the map are not fixed"),
        ("96, 64, d", "the sizes of the map are not fixed"),
    ],
)
def test_what_would_not_gain_is_left(size: str, reason: str) -> None:
    assert rewritten(text("ReduceMean", size=size), [NAME], []).reason(NAME) == reason
