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


def folded(shift: str, factor: str = "i = Reciprocal(s)", opset: int = 18) -> str:
    """As Keras and tf.nn.batch_normalization have it."""
    mean = INPUT if opset >= 18 else ATTRIBUTE
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
    g (float[n, 5, 8] x) => (float[n, 5, 8] y) <float[1, 1, 8] w, float[8] b> {{
    eps = Constant<value_float=0.00001>() one = Constant<value_float=1.0>()
    axes = Constant<value_ints=[-1]>()
    {mean.format(out="m", of="x")} d = Sub(x, m) q = Mul(d, d) {mean.format(out="v", of="q")}
    ve = Add(v, eps) s = Sqrt(ve) {factor} f = Mul(i, w) p = Mul(x, f) {shift} y = Add(p, c) }}"""


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("factor", ["i = Reciprocal(s)", "i = Div(one, s)"])
@pytest.mark.parametrize(
    "shift", ["k = Neg(m) t = Mul(k, f) c = Add(t, b)", "t = Mul(m, f) c = Sub(b, t)"]
)
def test_a_scale_folded_into_the_deviation(shift: str, factor: str, opset: int) -> None:
    result = rewritten(folded(shift, factor, opset), ["layer_normalization"], FEEDS)
    assert result.operators == ["LayerNormalization"]


@pytest.mark.parametrize("sides", ["4, 3", "7"])
def test_the_channels_of_an_image_are_moved_last(sides: str) -> None:
    ones = ", ".join("1" for _ in sides.split(","))
    source = text(SQUARES["product"], INPUT, axes="1", opset=18)
    source = source.replace("float[n, 5, 8]", f"float[n, 8, {sides}]")
    source = source.replace("float[8] w, float[8] b", f"float[8, {ones}] w, float[1, 8, {ones}] b")
    lengths = [int(side) for side in sides.split(",")]
    feeds = [{"x": floats(n, 8, *lengths)} for n in (0, 1, 2)]
    result = rewritten(source, ["layer_normalization"], feeds)
    assert result.operators == ["Transpose", "LayerNormalization", "Transpose"]


def test_other_axes_are_refused() -> None:
    source = text(SQUARES["pow"], INPUT, axes="0", opset=18)
    result = rewritten(source, ["layer_normalization"], FEEDS)
    reason = "it is over axes [0], not the last one or the channels"
    assert result.reason("layer_normalization") == reason


def test_a_scale_over_other_axes_is_refused() -> None:
    source = text(SQUARES["pow"], ATTRIBUTE).replace("float[8] w", "float[5, 1] w")
    result = rewritten(source, ["layer_normalization"], FEEDS)
    assert result.reason("layer_normalization") == "scale is not a vector of the normalized axis"


def test_an_epsilon_that_adds_an_axis_is_refused() -> None:
    source = text(SQUARES["pow"], INPUT, opset=18)
    source = source.replace("eps = Constant<value_float=0.00001>()",
                            "eps = Constant<value=float[1,1,1,1] {0.00001}>()")  # fmt: skip
    source = source.replace("(float[n, 5, 8] y)", "(float[i, n, 5, 8] y)")
    result = rewritten(source, ["layer_normalization"], FEEDS)
    assert result.reason("layer_normalization") == "epsilon is not a constant number"


def test_an_axis_of_unknown_length_is_refused() -> None:
    source = text(SQUARES["pow"], INPUT, opset=18).replace("float[n, 5, 8]", "float[?, 5, ?]")
    source = source.replace("float[8] w, float[8] b", "float[1] w = {2.0}, float[1] b = {3.0}")
    result = rewritten(source, ["layer_normalization"], FEEDS)
    assert result.counts == {}
