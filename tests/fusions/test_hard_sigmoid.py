import pytest

from tests.harness import floats, rewritten

NAME = "hard_sigmoid"
FEEDS = [{"x": 4 * floats(n, 8)} for n in (0, 1, 3)]


def text(body: str, opset: int = 18) -> str:
    return f"""<ir_version: 9, opset_import: ["": {opset}]> g (float[n, 8] x) => (float[n, 8] y)
    <float t = {{3.0}}, float s = {{6.0}}, float z = {{0.0}}, float i = {{0.16666667}}>
    {{ a = Add(x, t) {body} }}"""


@pytest.mark.parametrize(
    ("body", "opset"),
    [
        ("c = Clip(a, z, s) y = Div(c, s)", 18),
        ("c = Clip(a, z, s) y = Mul(i, c)", 18),
        ("c = Clip<min=0.0, max=6.0>(a) y = Div(c, s)", 10),
        ("c = Clip<min=0.0, max=6.0>(a) y = Mul(c, i)", 10),
    ],
)
def test_every_spelling(body: str, opset: int) -> None:
    assert rewritten(text(body, opset), [NAME], FEEDS).operators == ["HardSigmoid"]


def test_other_bounds_are_refused() -> None:
    result = rewritten(text("c = Clip<min=0.0, max=5.0>(a) y = Div(c, s)", 10), [NAME], FEEDS)
    assert result.reason(NAME) == "it is not bounded by 0 and 6"
    result = rewritten(text("c = Clip(a, z, t) y = Div(c, s)"), [NAME], FEEDS)
    assert NAME not in result.counts


@pytest.mark.parametrize(
    "body", ["c = Clip(x, z, s) y = Div(c, s)", "c = Clip(x, z, s) y = Mul(i, c)"]
)
def test_a_line_through_the_origin(body: str) -> None:
    result = rewritten(text("").replace("a = Add(x, t)", body), [NAME], FEEDS)
    assert result.operators == ["HardSigmoid"]


def test_a_gate_whose_offset_the_convolution_took() -> None:
    gate = """<ir_version: 9, opset_import: ["": 18]> g (float[n, 4, 5, 5] x) => (float[n, 4, 5, 5] y)
    <float t = {3.0}, float s = {6.0}, float z = {0.0}, float[4, 4, 1, 1] w, float[4] b>
    { k = Conv(x, w, b) a = Add(k, t) c = Clip(a, z, s) y = Div(c, s) }"""
    result = rewritten(gate, ["conv_add", NAME], [{"x": 4 * floats(n, 4, 5, 5)} for n in (0, 1, 3)])
    assert result.operators == ["Conv", "HardSigmoid"]
