import pytest

from tests.harness import floats, rewritten

NAME = "conv1d_as_image"


def text(conv: str, weights: str = "float[80, 16, 3] w, float[80] c", into: str = "16") -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, {into}, n] x) => (float[b, c, m] y) <{weights}> {{ y = {conv} }}"""


@pytest.mark.parametrize(
    "conv",
    [
        "Conv(x, w, c)",
        "Conv(x, w)",
        "Conv<strides=[2], pads=[2, 1], dilations=[3], kernel_shape=[3]>(x, w, c)",
        'Conv<auto_pad="SAME_UPPER", strides=[2]>(x, w, c)',
        'Conv<auto_pad="VALID">(x, w, c)',
    ],
)
def test_every_attribute_gets_its_second_axis(conv: str) -> None:
    feeds = [{"x": floats(b, 16, n)} for b, n in ((1, 7), (3, 8), (2, 31))]
    result = rewritten(text(conv), [NAME], feeds)
    assert result.operators == ["Unsqueeze", "Conv", "Squeeze"]


def test_images_are_not_even_missed() -> None:
    source = text("Conv(x, w)", "float[80, 16, 3, 3] w").replace("n] x", "n, 5] x")
    result = rewritten(source.replace("m] y", "m, k] y"), [NAME], [{"x": floats(1, 16, 4, 5)}])
    assert result.operators == ["Conv"]
    assert not result.near_misses


def test_groups_stay() -> None:
    source = text("Conv<group=32>(x, w, c)", "float[32, 1, 3] w, float[32] c", "32")
    result = rewritten(source, [NAME], [{"x": floats(2, 32, 9)}])
    assert result.counts == {NAME: 1}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text("Conv(x, w)", "float[80, 8, 3] w", "8"), "its channels are not multiples of 16"),
        (
            text("Conv<group=2>(x, w)", "float[32, 16, 1] w", "32"),
            "it is a matrix product for each group, which is as fast as it is",
        ),
        (
            text("Conv(x, v)", "float[1] w").replace("n] x)", "n] x, float[80, 16, 3] v)"),
            "its weight is not constant",
        ),
    ],
)
def test_what_gains_nothing_is_refused(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], [])
    assert result.reason(NAME) == reason
    assert "Unsqueeze" not in result.operators
