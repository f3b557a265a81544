import numpy as np
import onnx_ir as ir
import pytest

from tests.harness import floats, rewritten

NAMES = ["winograd", "small_winograd"]
HEAD = '<ir_version: 10, opset_import: ["": {opset}]>'


def text(
    body: str, shape: str = "float[n, 96, 16, 12]", kernels: str = "64, 96, 3, 3", opset: int = 18
) -> str:
    return f"""{HEAD.format(opset=opset)} g ({shape} x) => (float[n, k, h, v] y)
    <float[{kernels}] w, float[{kernels.split(",")[0]}] b> {{ {body} }}"""


PLAIN = "y = Conv<pads=[1,1,1,1]>(x, w, b)"


def feeds(rows: int = 16, columns: int = 12) -> list[dict[str, np.ndarray]]:
    return [{"x": floats(n, 96, rows, columns, seed=n)} for n in (0, 1, 3)]


@pytest.mark.parametrize("opset", [13, 18, 23])
@pytest.mark.parametrize(
    ("body", "operators"),
    [
        (PLAIN, ["WinogradConv"]),
        ("y = Conv<pads=[1,1,1,1]>(x, w)", ["WinogradConv"]),
        ("y = Conv<auto_pad=\"SAME_UPPER\">(x, w, b)", ["WinogradConv"]),
        ("c = Conv<pads=[1,1,1,1]>(x, w, b) y = Relu(c)", ["WinogradConvRelu"]),
        ("c = Conv<pads=[1,1,1,1]>(x, w) y = Relu(c)", ["WinogradConvRelu"]),
        ("c = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(c) y = Add(c, r)",
         ["WinogradConv", "Relu", "Add"]),
    ],
)  # fmt: skip
def test_a_convolution_becomes_one_of_four_rows_at_a_time(
    body: str, operators: list[str], opset: int
) -> None:
    result = rewritten(text(body, opset=opset), NAMES, feeds())
    assert result.operators == operators
    assert len(result.model.functions) == 1


@pytest.mark.parametrize(("rows", "columns"), [(26, 12), (27, 7), (31, 1), (28, 33)])
def test_rows_beyond_the_image_are_cut_off(rows: int, columns: int) -> None:
    source = text(PLAIN, f"float[n, 96, {rows}, {columns}]")
    result = rewritten(source, NAMES, feeds(rows, columns))
    assert result.operators == ["WinogradConv", *["Slice"] * (rows % 4 > 0)]


def test_channels_that_grow_and_two_convolutions_in_a_row() -> None:
    source = f"""{HEAD.format(opset=18)} g (float[n, 48, 20, 20] x) => (float[n, k, h, v] y)
    <float[128, 48, 3, 3] w, float[128] b, float[64, 128, 3, 3] z> {{
    a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, z) }}"""
    result = rewritten(source, NAMES, [{"x": floats(n, 48, 20, 20)} for n in (1, 2)])
    assert result.operators == ["WinogradConvRelu", "WinogradConv"]
    made = result.model.graph.outputs[0].producer()
    assert made is not None
    shape = made.inputs[0].shape  # type: ignore[union-attr]
    assert shape is not None
    assert list(shape)[1:] == [128, 20, 20]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(PLAIN, "float[n, 96, h, 12]"), ""),
        (text(PLAIN, "float[n, 96, 8, 12]"), "8 rows are too few, or too far from a multiple of 4"),
        (
            text(PLAIN, "float[n, 96, 13, 12]"),
            "13 rows are too few, or too far from a multiple of 4",
        ),
        (
            text(PLAIN, "float[n, 96, 15, 12]"),
            "15 rows are no multiple of 4: cutting others off costs what is saved",
        ),
        (
            text(PLAIN, "float[n, 32, 64, 12]", "32, 32, 3, 3"),
            "32 channels by 64 rows are too few: sums cost what is saved",
        ),
        (
            text(PLAIN, "float[n, 64, 320, 320]", "64, 64, 3, 3"),
            "64 channels of 320x320: memory cannot keep up with the sums",
        ),
        (
            text(PLAIN, "float[n, 96, 16, 12]", "100, 96, 3, 3"),
            "its channels are not multiples of 16",
        ),
        (text("y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b)"), ""),
        (text("y = Conv<pads=[2,2,2,2], dilations=[2,2]>(x, w, b)"), ""),
        (text("y = Conv(x, w, b)"), ""),
        (text("y = Conv<pads=[1,1,1,1], group=2>(x, w, b)", kernels="64, 48, 3, 3"), ""),
        (text("y = Conv<pads=[2,2,2,2]>(x, w, b)", kernels="64, 96, 5, 5"), ""),
    ],
)
def test_what_does_not_gain_is_refused(source: str, reason: str) -> None:
    result = rewritten(source, NAMES, [])
    assert not result.counts
    assert result.reason(*NAMES) == reason


def test_weights_that_are_computed_are_refused() -> None:
    source = f"""{HEAD.format(opset=18)} g (float[n, 96, 16, 12] x, float[64, 96, 3, 3] w)
    => (float[n, 64, 16, 12] y) {{ y = Conv<pads=[1,1,1,1]>(x, w) }}"""
    result = rewritten(source, NAMES, [])
    assert result.reason(*NAMES) == "it is not float32 with constant weights"


def test_the_weights_are_those_of_the_convolution() -> None:
    result = rewritten(text(PLAIN), NAMES, feeds())
    sizes = sorted(value.const_value.size for value in result.model.graph.initializers.values()
                   if isinstance(value.const_value, ir.TensorProtocol))  # fmt: skip
    assert sizes == [64, 64 * 96 * 9]


@pytest.mark.parametrize(("channels", "side"), [(64, 112), (96, 200), (128, 280), (256, 640)])
def test_maps_that_memory_keeps_up_with_become_it(channels: int, side: int) -> None:
    source = text(PLAIN, f"float[n, {channels}, {side}, {side}]", f"{channels}, {channels}, 3, 3")
    assert rewritten(source, NAMES, []).counts == {"winograd": 1}
