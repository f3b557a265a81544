"""Average over the whole map by GlobalAveragePool where the window is larger than the map.

Why: ONNX Runtime has no blocked kernel for such windows, which EfficientNet's exporters write, and
goes through all of a window of 1280x1280 for a map of 7x7; 25x.
Equal: up to float rounding.  With ``ceil_mode`` only what lies in the map counts.
"""

import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, op


def before(x: Expr) -> Expr:
    return op.AveragePool(x).named("pool")


def when(x: Capture, pool: Capture) -> str | None:
    said = pool.attrs
    sides, window = (x.shape or ())[2:], said["kernel_shape"]
    if len(sides) != len(window) or any(not isinstance(side, int) for side in sides):
        return ""
    beyond = [length - side for length, side in zip(window, sides, strict=True)]
    if min(beyond) < 0 or max(beyond) == 0:
        return ""
    if x.dtype != ir.DataType.FLOAT:
        return "it is not float32"
    if any(said.get("pads", ())) or said.get("auto_pad", "NOTSET") != "NOTSET":
        return "it has a border"
    steps = said.get("strides", [1] * len(window))
    if not said.get("ceil_mode", 0) or any(b >= s for b, s in zip(beyond, steps, strict=True)):
        return "its window leaves the map"
    return None


def after(x: Capture) -> Expr:
    return op.GlobalAveragePool(x)
