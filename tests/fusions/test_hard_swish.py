import pytest

from tests.harness import floats, rewritten

NAME = "hard_swish"
FEEDS = [{"x": 4 * floats(n, 8)} for n in (0, 1, 3)]


def text(body: str) -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]> g (float[n, 8] x) => (float[n, 8] y)
    <float t = {{3.0}}, float s = {{6.0}}, float z = {{0.0}}, float i = {{0.16666667}}>
    {{ {body} }}"""


@pytest.mark.parametrize(
    "body",
    [
        "h = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(x, h)",
        "h = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(h, x)",
        "a = Add(x, t) c = Clip(a, z, s) p = Mul(x, c) y = Div(p, s)",
        "a = Add(x, t) c = Clip(a, z, s) p = Mul(c, x) y = Mul(p, i)",
        "a = Add(x, t) c = Clip(a, z, s) p = Div(x, s) y = Mul(p, c)",
        "a = Add(x, t) c = Clip(a, z, s) p = Mul(x, i) y = Mul(c, p)",
    ],
)
def test_every_spelling(body: str) -> None:
    assert rewritten(text(body), [NAME], FEEDS).operators == ["HardSwish"]


def test_the_clip_may_have_been_fused_before() -> None:
    body = "a = Add(x, t) c = Clip(a, z, s) d = Div(c, s) y = Mul(x, d)"
    assert rewritten(text(body), ["hard_sigmoid", NAME], FEEDS).operators == ["HardSwish"]


def test_another_slope_is_refused() -> None:
    result = rewritten(text("h = HardSigmoid(x) y = Mul(x, h)"), [NAME], FEEDS)
    assert result.reason(NAME) == "its gate has another slope"
    assert result.operators == ["HardSigmoid", "Mul"]


def test_another_value_behind_the_gate_is_no_match() -> None:
    body = "b = Neg(x) h = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(b, h)"
    assert NAME not in rewritten(text(body), [NAME], FEEDS).counts
