import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 3, 8, 7, seed=n)} for n in (1, 2, 0)]


def text(conv: str, added: str) -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 3, 8, 7] x) => (float[n, 6, h, w] y) <float[6, 3, 3, 3] k, float[6] c, {added} a>
    {{ f = {conv} y = Mul(f, a) }}"""


@pytest.mark.parametrize("conv", ["Conv<pads=[1,1,1,1]>(x, k, c)", "Conv(x, k)"])
@pytest.mark.parametrize("added", ["float[6, 1, 1]", "float[1, 6, 1, 1]", "float[1]"])
def test_a_factor_goes_into_the_weights(conv: str, added: str) -> None:
    assert rewritten(text(conv, added), ["conv_mul"], FEEDS).operators == ["Conv"]


@pytest.mark.parametrize("added", ["float[5]", "float[2, 6, 1, 1]", "float[1, 6, 6, 1]"])
def test_what_differs_within_a_channel_is_refused(added: str) -> None:
    result = rewritten(text("Conv(x, k)", added), ["conv_mul"], FEEDS[1:2])
    assert result.reason("conv_mul") == "the factor differs within a channel"


def test_a_weight_that_others_use_is_not_doubled() -> None:
    source = text("Conv(x, k)", "float[6, 1, 1]").replace(
        "y = Mul(f, a)", "e = Neg(x) z = Conv(e, k) y = Mul(f, a)"
    )
    source = source.replace("w] y)", "w] y, float[n, 6, h, w] z)")
    result = rewritten(source, ["conv_mul"], FEEDS[:1])
    assert result.reason("conv_mul") == "its weight is used elsewhere too"
