import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 3, 5, 6)} for n in (0, 1, 2)]


def text(attributes: str, kind: str = "float", shape: str = "n, 3, 5, 6", opset: int = 18) -> str:
    return f"""<ir_version: 10, opset_import: ["": {opset}]>
    g ({kind}[{shape}] x) => ({kind}[n, 3, h, w] y) {{ y = AveragePool<{attributes}>(x) }}"""


@pytest.mark.parametrize("opset", [11, 18, 22])
@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape=[64, 64], strides=[64, 64], ceil_mode=1",
        "kernel_shape=[64, 6], strides=[60, 1], ceil_mode=1, count_include_pad=1",
        "kernel_shape=[5, 7], strides=[2, 2], pads=[0, 0, 0, 0], ceil_mode=1",
    ],
)
def test_a_window_larger_than_the_map_becomes_a_global_pool(attributes: str, opset: int) -> None:
    result = rewritten(text(attributes, opset=opset), ["global_average_pool"], FEEDS)
    assert result.operators == ["GlobalAveragePool"]


LARGE = "kernel_shape=[64, 64], strides=[64, 64], ceil_mode=1"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text("kernel_shape=[5, 5]"), ""),
        (text("kernel_shape=[5, 6]"), ""),  # ONNX Runtime's blocked kernel is as fast
        (text("kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1"), ""),
        (text(LARGE, shape="n, 3, h, w"), ""),
        (text("kernel_shape=[7, 8], pads=[1, 1, 1, 1]"), "it has a border"),
        (text("kernel_shape=[9, 9], strides=[2, 2], ceil_mode=1"), "its window leaves the map"),
        (text(LARGE, "double"), "it is not float32"),
    ],
)
def test_other_windows_stay(source: str, reason: str) -> None:
    result = rewritten(source, ["global_average_pool"], [])
    assert not result.counts
    assert result.reason("global_average_pool") == reason
