import pytest

from tests.harness import floats, rewritten

NAME = "patches_as_linear"
LAST = "Transpose<perm=[0, 2, 3, 1]>(c)"


def text(
    conv: str = "Conv<strides=[16, 16]>(x, w, v)",
    image: str = "3, 32, 48",
    weights: str = "float[768, 3, 16, 16] w, float[768] v",
    last: str = LAST,
) -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, {image}] x) => (float[b, h, u, o] y) <{weights}> {{ c = {conv} y = {last} }}"""


@pytest.mark.parametrize(
    "conv",
    [
        "Conv<strides=[16, 16]>(x, w, v)",
        'Conv<strides=[16, 16], kernel_shape=[16, 16], auto_pad="VALID">(x, w)',
    ],
)
def test_patches_become_the_rows_of_a_linear_layer(conv: str) -> None:
    feeds = [{"x": floats(b, 3, 32, 48)} for b in (0, 1, 3)]
    result = rewritten(text(conv), [NAME], feeds)
    assert result.counts == {NAME: 1}
    assert "Conv" not in result.operators
    assert "MatMul" in result.operators


def test_patches_that_are_no_squares_keep_their_order() -> None:
    source = text(
        "Conv<strides=[8, 32]>(x, w)", weights="float[768, 3, 8, 32] w", image="3, 16, 64"
    )
    result = rewritten(source, [NAME], [{"x": floats(2, 3, 16, 64)}])
    assert result.counts == {NAME: 1}


def test_pixels_are_read_where_their_channels_stand_last() -> None:
    source = text("Conv<strides=[16, 16]>(t, w, v)", "32, 48, 3").replace(
        "{ c =", "{ t = Transpose<perm=[0, 3, 1, 2]>(x) c ="
    )
    feeds = [{"x": floats(b, 32, 48, 3)} for b in (0, 1, 3)]
    result = rewritten(source, [NAME], feeds)
    assert result.operators == ["Reshape", "Transpose", "Reshape", "MatMul", "Add"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(weights="float[128, 3, 16, 16] w, float[128] v"), "it has few weights"),
        (
            text("Conv<strides=[16, 16], dilations=[1, 2]>(x, w, v)"),
            "its kernel leaves out pixels",
        ),
        (text("Conv<strides=[16, 16], pads=[0, 0, 16, 16]>(x, w, v)"), "it pads"),
        (text(image="3, 32, 50"), "its image is not known to be made of whole patches"),
        (text(image="3, 32, n"), "its image is not known to be made of whole patches"),
    ],
)
def test_others_are_refused(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], [])
    assert result.reason(NAME) == reason
    assert result.counts == {}


@pytest.mark.parametrize(
    "source",
    [text("Conv<strides=[8, 8]>(x, w, v)"), text(last="Transpose<perm=[0, 3, 1, 2]>(c)")],
)
def test_others_are_not_even_missed(source: str) -> None:
    result = rewritten(source, [NAME], [])
    assert result.counts == {}
    assert not result.near_misses
