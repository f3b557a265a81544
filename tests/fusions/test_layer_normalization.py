import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 5, 8, seed=n)} for n in (1, 2)]


def text(square: str, mean: str, axes: str = "-1", opset: int = 17) -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
    g (float[n, 5, 8] x) => (float[n, 5, 8] y) <float[8] w, float[8] b> {{
    two = Constant<value_float=2.0>() eps = Constant<value_float=0.00001>()
    axes = Constant<value_ints=[{axes}]>()
    {mean.format(out="m", of="x")} d = Sub(x, m) {square} {mean.format(out="v", of="q")}
    ve = Add(v, eps) s = Sqrt(ve) r = Div(d, s) rw = Mul(r, w) y = Add(rw, b) }}"""


ATTRIBUTE = "{out} = ReduceMean<axes=[-1]>({of})"
INPUT = "{out} = ReduceMean({of}, axes)"
SQUARES = {"pow": "q = Pow(d, two)", "product": "q = Mul(d, d)"}


@pytest.mark.parametrize("square", SQUARES.values(), ids=SQUARES.keys())
@pytest.mark.parametrize(("mean", "opset"), [(ATTRIBUTE, 17), (INPUT, 18)])
def test_the_parts_become_one_operator(square: str, mean: str, opset: int) -> None:
    result = rewritten(text(square, mean, opset=opset), ["layer_normalization"], FEEDS)
    assert result.operators == ["LayerNormalization"]


def test_other_axes_are_refused() -> None:
    source = text(SQUARES["pow"], INPUT, axes="1", opset=18)
    result = rewritten(source, ["layer_normalization"], FEEDS)
    assert result.reason("layer_normalization") == "it is over axes [1], not the last one"


def test_a_scale_over_other_axes_is_refused() -> None:
    source = text(SQUARES["pow"], ATTRIBUTE).replace("float[8] w", "float[5, 1] w")
    result = rewritten(source, ["layer_normalization"], FEEDS)
    assert result.reason("layer_normalization") == "scale is not a vector of the last axis"
