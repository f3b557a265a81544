import numpy as np
import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 3, 8, 7, seed=n)} for n in (1, 2)]


def text(conv: str, variance: str = "float[6] v = {1, 2, 3, 0.5, 0.25, 1}", end: str = "") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 3, 8, 7] x) => (float[n, 6, h, w] y)
    <float[6, 3, 3, 3] k, float[6] c, float[6] s, float[6] b, float[6] m, {variance}>
    {{ f = {conv} y = BatchNormalization<epsilon=0.001>(f, s, b, m, v) {end} }}"""


@pytest.mark.parametrize(
    "conv", ["Conv<pads=[1,1,1,1], strides=[2,1]>(x, k, c)", "Conv(x, k)"], ids=["bias", "plain"]
)
def test_the_statistics_go_into_the_weights(conv: str) -> None:
    result = rewritten(text(conv), ["conv_batch_normalization"], FEEDS)
    assert result.operators == ["Conv"]


def test_a_conv_that_is_read_elsewhere_stays() -> None:
    source = text("Conv(x, k)").replace(
        "float[n, 6, h, w] y)", "float[n, 6, h, w] y, float[n, 6, h, w] f)"
    )
    result = rewritten(source, ["conv_batch_normalization"], FEEDS)
    assert result.reason("conv_batch_normalization") == "'f' is an output of the graph"


def test_statistics_from_outside_are_refused() -> None:
    source = text("Conv(x, k)").replace(
        "g (float[n, 3, 8, 7] x)", "g (float[n, 3, 8, 7] x, float[6] s)"
    )
    source = source.replace("float[6] s, float[6] b", "float[6] b")
    feeds = [{**values, "s": np.ones(6, np.float32)} for values in FEEDS]
    result = rewritten(source, ["conv_batch_normalization"], feeds)
    assert result.reason("conv_batch_normalization") == "its scale is not a constant"
