import pytest

from tests.harness import floats, rewritten

WIDE, NAME = "conv1d_as_image", "narrow_conv1d_as_image"


def text(weights: str, attributes: str = "", into: int = 16) -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, {into}, n] x) => (float[b, c, m] y) <{weights}> {{ y = Conv{attributes}(x, w) }}"""


@pytest.mark.parametrize(
    ("source", "into", "expected"),
    [
        (text("float[16, 16, 3] w"), 16, NAME),
        (text("float[64, 16, 3] w", "<pads=[1, 1], dilations=[2]>"), 16, NAME),
        (text("float[80, 16, 3] w"), 16, WIDE),
        (text("float[32, 1, 3] w", "<group=32>", 32), 32, WIDE),
    ],
)
def test_each_convolution_belongs_to_one_of_the_two(source: str, into: int, expected: str) -> None:
    feeds = [{"x": floats(b, into, n)} for b, n in ((1, 7), (3, 8), (2, 31))]
    result = rewritten(source, [NAME, WIDE], feeds)
    assert result.counts == {expected: 1}
    assert result.operators == ["Unsqueeze", "Conv", "Squeeze"]


def test_what_gains_nothing_is_refused_once() -> None:
    result = rewritten(text("float[32, 8, 3] w", into=8), [NAME, WIDE], [])
    assert result.reason(NAME) == "its channels are not multiples of 16"
    assert {miss.fusion for miss in result.near_misses} == {NAME}
