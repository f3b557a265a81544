import pytest

from tests.harness import floats, rewritten

NAME = "pixels_as_rows"


def text(sizes: str = "s = Constant<value_ints=[0, 16, 4]>()", image: str = "3, 4, 6") -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, {image}] x) => (float[b, n, c] y)
    <float[16, 3, 2, 3] w, float[16] v> {{
    c = Conv<strides=[2, 3]>(x, w, v) {sizes} f = Reshape(c, s)
    y = Transpose<perm=[0, 2, 1]>(f) }}"""


@pytest.mark.parametrize("sizes", ["0, 16, 4", "0, -1, 4", "0, 0, -1"])
def test_channels_are_moved_before_pixels_become_rows(sizes: str) -> None:
    source = text(f"s = Constant<value_ints=[{sizes}]>()")
    batches = (1, 3) if "-1" in sizes else (0, 1, 3)
    result = rewritten(source, [NAME], [{"x": floats(b, 3, 4, 6)} for b in batches])
    assert result.operators == ["Conv", "Transpose", "Reshape"]


@pytest.mark.parametrize(
    "sizes",
    [
        "s = Constant<value_ints=[0, 16, -1]>()",
        """a = Shape<start=0, end=1>(c) k = Constant<value_ints=[16]>()
        m = Constant<value_ints=[-1]>() s = Concat<axis=0>(a, k, m)""",
    ],
)
def test_sides_may_be_open(sizes: str) -> None:
    feeds = [{"x": floats(b, 3, h, w)} for b, h, w in ((1, 2, 3), (2, 5, 9), (3, 8, 4))]
    result = rewritten(text(sizes, "3, h, w"), [NAME], feeds)
    assert result.counts == {NAME: 1}


def test_sizes_that_may_copy_an_axis_by_its_place_are_refused() -> None:
    sizes = """a = Shape<start=0, end=1>(c) k = Constant<value_ints=[0, -1]>()
    s = Concat<axis=0>(a, k)"""
    result = rewritten(text(sizes, "3, h, w"), [NAME], [])
    assert result.reason(NAME) == "its sizes may count on the place of channels"


def test_pixels_that_share_an_axis_with_channels_stay() -> None:
    result = rewritten(text("s = Constant<value_ints=[0, 32, 2]>()"), [NAME], [])
    assert result.counts == {}
