import pytest

from tests.harness import floats, rewritten

NAME = "channels_last_conv"


def text(
    conv: str, size: str = "9, 8, 3", weights: str = "float[16, 3, 3, 2] w, float[16] c"
) -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, {size}] x) => (float[b, o, h, v] y) <{weights}> {{
    t = Transpose<perm=[0, 3, 1, 2]>(x) y = {conv} }}"""


@pytest.mark.parametrize(
    "conv",
    [
        "Conv(t, w, c)",
        "Conv(t, w)",
        "Conv<strides=[2, 3], pads=[1, 0, 2, 1]>(t, w, c)",
        "Conv<kernel_shape=[3, 2], dilations=[3, 1], pads=[2, 1, 0, 3]>(t, w)",
        'Conv<auto_pad="VALID", strides=[1, 2]>(t, w, c)',
    ],
)
def test_pixels_are_read_where_they_stand(conv: str) -> None:
    feeds = [{"x": floats(b, 9, 8, 3)} for b in (0, 1, 3)]
    result = rewritten(text(conv), [NAME], feeds)
    assert result.operators == ["Reshape", "Conv"]


def test_one_channel_is_read_so_too() -> None:
    source = text("Conv(t, w)", "9, 8, 1", "float[16, 1, 3, 2] w")
    assert rewritten(source, [NAME], [{"x": floats(2, 9, 8, 1)}]).operators == ["Reshape", "Conv"]


@pytest.mark.parametrize("size", ["9, n, 3", "m, n, 3"])
def test_the_size_of_an_image_may_be_open(size: str) -> None:
    source = text("Conv<strides=[2, 2], pads=[0, 1, 1, 0]>(t, w, c)", size)
    feeds = [{"x": floats(b, 9, n, 3)} for b, n in ((0, 8), (1, 2), (3, 7))]
    result = rewritten(source, [NAME], feeds)
    assert "Transpose" not in result.operators


def test_an_image_that_others_read_in_front_is_still_moved_for_them() -> None:
    source = text("Add(u, m)").replace("y =", "u = Conv(t, w, c) m = ReduceMax(t) y =")
    result = rewritten(source, [NAME], [{"x": floats(2, 9, 8, 3)}])
    assert "Conv" in result.operators
    assert "Transpose" in result.operators


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text("Conv<group=3>(t, w)", weights="float[6, 1, 3, 2] w"), "it has groups"),
        (
            text("Conv<dilations=[1, 2]>(t, w)"),
            "its kernel leaves out pixels of a row",
        ),
        (
            text('Conv<auto_pad="SAME_UPPER">(t, w)'),
            "what it pads depends on the width",
        ),
        (
            text("Conv(t, v)", weights="float[1] w").replace("3] x)", "3] x, float[4, 3, 2, 2] v)"),
            "it is not float32 with constant weights",
        ),
    ],
)
def test_what_cannot_be_read_so_is_refused(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], [])
    assert result.reason(NAME) == reason
    assert result.counts == {}


def test_images_of_many_channels_are_not_even_missed() -> None:
    result = rewritten(text("Conv(t, w)", "9, 8, 16", "float[16, 16, 3, 2] w"), [NAME], [])
    assert result.counts == {}
    assert not result.near_misses
