import pytest

from tests.harness import floats, rewritten

SMALL, LARGE = "small_winograd", "winograd"


@pytest.mark.parametrize(
    ("channels", "side", "expected"),
    [(48, 20, SMALL), (48, 56, SMALL), (96, 12, SMALL), (96, 20, LARGE), (128, 28, LARGE)],
)
def test_each_convolution_belongs_to_one_of_the_two(
    channels: int, side: int, expected: str
) -> None:
    source = f"""<ir_version: 10, opset_import: ["": 18]>
    g (float[n, {channels}, {side}, {side}] x) => (float[n, k, h, v] y)
    <float[{channels}, {channels}, 3, 3] w> {{ y = Conv<pads=[1,1,1,1]>(x, w) }}"""
    feeds = [{"x": floats(n, channels, side, side)} for n in (0, 1, 2)]
    result = rewritten(source, [SMALL, LARGE], feeds)
    assert result.counts == {expected: 1}
    assert result.operators == ["WinogradConv"]
    other = LARGE if expected == SMALL else SMALL
    assert not rewritten(source, [other], feeds).counts


def test_what_gains_nothing_is_refused_once() -> None:
    source = """<ir_version: 10, opset_import: ["": 18]> g (float[n, 96, 8, 8] x)
    => (float[n, k, h, v] y) <float[96, 96, 3, 3] w> { y = Conv<pads=[1,1,1,1]>(x, w) }"""
    result = rewritten(source, [SMALL, LARGE], [])
    assert result.reason(SMALL) == "8 rows are too few, or too far from a multiple of 4"
    assert result.reason(LARGE) == ""
