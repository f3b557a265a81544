"""Give rows the shape of a map before their channels move in front of a convolution.

Why: a Transpose of four axes before a convolution is part of the reorder into ONNX Runtime's
blocked layout; one of three axes before a Reshape is a pass over the rows of its own: 1.05-1.3x
on the convolutions between the layers of a vision transformer.
Equal: exactly the same numbers.
"""

import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK, as_image
from modelkit.fusions.pixels_as_rows import are_movable, channels_last
from modelkit.rewrite import Capture, Expr, convolution, op

LEVEL = "all"
OPSET = 5  # Reshape takes its sizes as an input
ORDER = 17  # before linear_as_conv, whose moves between layouts meet these


def before(x: Expr, sizes: Expr, w: Expr, b: Expr) -> Expr:
    turned = op.Transpose(x, perm=[0, 2, 1]).shared()
    return convolution(op.Reshape(turned, sizes).named("pixels").shared(), w, b)


def when(x: Capture, sizes: Capture, pixels: Capture, w: Capture) -> str | None:
    if x.dtype != ir.DataType.FLOAT or not w.is_constant:
        return ""
    if x.shape is None or pixels.shape is None or len(pixels.shape) != 4:
        return ""
    assert pixels.value is not None
    channels = x.shape[2]
    if not isinstance(channels, int) or channels % BLOCK:
        return ""
    if pixels.shape[:2] != (x.shape[0], channels):
        return ""
    if x.shape[0] is None:
        return "its batch has no name"
    if any(user.op_type != "Conv" for user, _ in pixels.value.uses()):
        return "other operators read the map"
    return None if are_movable(pixels, sizes) else "its sizes may count on the place of channels"


def after(
    x: Capture, sizes: Capture, pixels: Capture, w: Capture, b: Capture, conv: Capture
) -> Expr:
    moved = op.Reshape(x, channels_last(pixels, sizes))
    return op.Conv(as_image(moved, ()), w, b, **conv.attrs)
