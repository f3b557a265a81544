import pytest

from tests.harness import floats, rewritten

NAME = "global_average_pool"
FEEDS = [{"x": floats(n, 8, 7, 5)} for n in (1, 3)]


def text(attributes: str, shape: str = "n, 8, 7, 5") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]> g (float[{shape}] x) => (float[n, 8, a, b] y)
    {{ y = AveragePool<{attributes}>(x) }}"""


@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape=[7, 5]",
        "kernel_shape=[7, 5], strides=[7, 5], pads=[0, 0, 0, 0], count_include_pad=1",
        "kernel_shape=[7, 5], ceil_mode=1, dilations=[1, 1]",
        'kernel_shape=[7, 5], auto_pad="VALID"',
        "kernel_shape=[64, 64], strides=[64, 64], ceil_mode=1, count_include_pad=1",
        "kernel_shape=[7, 8], strides=[1, 8], ceil_mode=1",
    ],
)
def test_a_window_of_the_whole_map(attributes: str) -> None:
    assert rewritten(text(attributes), [NAME], FEEDS).operators == ["GlobalAveragePool"]


@pytest.mark.parametrize(
    ("attributes", "shape", "reason"),
    [
        ("kernel_shape=[7, 5], pads=[1, 0, 0, 0]", "n, 8, 7, 5", "it pads or spreads its window"),
        ('kernel_shape=[7, 5], auto_pad="SAME_UPPER"', "n, 8, 7, 5", "it pads its window"),
        ("kernel_shape=[7, 5]", "n, 8, h, 5", "the size of its map is not known"),
        ("kernel_shape=[7, 4]", "n, 8, 7, 5", ""),
    ],
)  # fmt: skip
def test_other_windows_stay(attributes: str, shape: str, reason: str) -> None:
    result = rewritten(text(attributes, shape), [NAME], FEEDS)
    assert result.operators == ["AveragePool"]
    assert result.reason(NAME) == reason


@pytest.mark.parametrize("attributes", ["kernel_shape=[9, 9]", "kernel_shape=[9, 9], ceil_mode=1"])
def test_a_window_that_does_not_fit_is_left_to_the_runtime(attributes: str) -> None:
    result = rewritten(text(attributes), [NAME], [])
    assert result.reason(NAME) == "its window does not fit into the map"
