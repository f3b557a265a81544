import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 3, 5, 6)} for n in (1, 2)]


def text(split: str, channels: int = 32) -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 3, 5, 6] x) => (float[n, c, 5, 6] y, float[n, d, 5, 6] z)
    <float[{channels}, 3, 3, 3] w, float[{channels}] b>
    {{ c = Conv<pads=[1,1,1,1]>(x, w, b) s = Sigmoid(c) a = Mul(c, s) {split} }}"""


@pytest.mark.parametrize(
    ("split", "channels"),
    [
        ("y, z = Split<axis=1, num_outputs=2>(a)", 32),
        ("h = Constant<value_ints=[16, 32]>() y, z = Split<axis=1>(a, h)", 48),
    ],
)
def test_each_part_gets_its_convolution(split: str, channels: int) -> None:
    result = rewritten(text(split, channels), ["conv_split"], FEEDS)
    assert sorted(result.operators) == ["Conv", "Conv", "Mul", "Mul", "Sigmoid", "Sigmoid"]


def test_parts_that_fill_no_block_are_refused() -> None:
    result = rewritten(text("y, z = Split<axis=1, num_outputs=2>(a)", 8), ["conv_split"], FEEDS)
    assert result.reason("conv_split") == "its parts are not multiples of 16 channels"


def test_three_parts_are_refused() -> None:
    source = text("y, z, r = Split<axis=1, num_outputs=3>(a)", 48)
    result = rewritten(source, ["conv_split"], FEEDS)
    assert result.reason("conv_split") == "it is not split in two"
