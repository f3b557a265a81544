"""Pool a whole map by GlobalAveragePool.

Why: exporters of EfficientNet write a window of 1280x1280 over a map of 7x7, and ONNX Runtime walks
through all of it for each channel.
Equal: up to rounding of the sums.  A window that reaches beyond the map counts what it holds.
"""

from modelkit.rewrite import Capture, Expr, op


def before(x: Expr) -> Expr:
    return op.AveragePool(x).named("pooled")


def when(x: Capture, pooled: Capture) -> str | None:
    attributes = pooled.attrs
    if x.shape is None or any(not isinstance(dim, int) for dim in x.shape[2:]):
        return "the size of its map is not known"
    window = attributes["kernel_shape"]
    beyond = [k - dim for k, dim in zip(window, x.shape[2:], strict=True) if isinstance(dim, int)]
    if min(beyond) < 0:
        return ""  # places of the map are what AveragePool is for
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "it pads its window"
    if any(attributes.get("pads", ())) or any(d != 1 for d in attributes.get("dilations", ())):
        return "it pads or spreads its window"
    strides = attributes.get("strides", [1] * len(window))
    partial = attributes.get("ceil_mode", 0) and all(map(int.__lt__, beyond, strides))
    return None if partial or not any(beyond) else "its window does not fit into the map"


def after(x: Capture) -> Expr:
    return op.GlobalAveragePool(x)
