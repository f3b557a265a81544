import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 5, seed=n) * 4} for n in (1, 3, 0)]


def text(body: str) -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 5] x) => (float[n, 5] y)
    <float z = {{0}}, float a = {{-1}}, float s = {{6}}, float b = {{-0.5}}> {{ {body} }}"""


@pytest.mark.parametrize(
    "body",
    [
        "r = Relu(x) y = Clip(r, z, s)",
        "r = Clip(x, a, s) y = Relu(r)",
        "r = Relu(x) y = Clip(r, a, s)",
    ],
)
def test_one_clip_is_left(body: str) -> None:
    assert rewritten(text(body), ["relu_clip"], FEEDS).operators == ["Clip"]


def test_an_upper_limit_below_zero_is_refused() -> None:
    result = rewritten(text("r = Clip(x, a, b) y = Relu(r)"), ["relu_clip"], FEEDS)
    assert result.reason("relu_clip") == "its upper limit is below zero or the lower one"
