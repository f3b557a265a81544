import pytest

from tests.harness import floats, rewritten

SMALL, LARGE = "small_open_winograd", "open_winograd"


@pytest.mark.parametrize(
    ("channels", "stride", "expected"),
    [(48, 4, SMALL), (64, 8, SMALL), (96, 16, SMALL), (64, 4, LARGE), (144, 16, LARGE)],
)
def test_each_convolution_belongs_to_one_of_the_two(
    channels: int, stride: int, expected: str
) -> None:
    source = f"""<ir_version: 10, opset_import: ["": 18]>
    g (float[n, 3, h, w] x) => (float[n, {channels}, p, q] y)
    <float[{channels}, 3, {stride}, {stride}] a, float[{channels}, {channels}, 3, 3] k> {{
    s = Conv<strides=[{stride}, {stride}]>(x, a) y = Conv<pads=[1,1,1,1]>(s, k) }}"""
    feeds = [{"x": floats(n, 3, 5 * stride, 8 * stride)} for n in (0, 1, 2)]
    result = rewritten(source, [SMALL, LARGE], feeds)
    assert result.counts == {expected: 1}
    assert "WinogradConvOpen" in result.operators
    other = LARGE if expected == SMALL else SMALL
    assert not rewritten(source, [other], feeds).counts


def test_images_of_fixed_sizes_are_none_of_it() -> None:
    source = """<ir_version: 10, opset_import: ["": 18]> g (float[n, 48, 20, 20] x)
    => (float[n, k, h, v] y) <float[48, 48, 3, 3] w> { y = Conv<pads=[1,1,1,1]>(x, w) }"""
    result = rewritten(source, [SMALL, LARGE], [])
    assert not result.counts
    assert result.reason(SMALL, LARGE) == ""
