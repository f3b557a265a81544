"""Compute the convolution that makes one pixel of each patch of an image as a linear layer.

Why: a kernel that meets each pixel once is a product of matrices; the first convolution of a
vision transformer is 1.04-1.36x as fast so, and takes half to four fifths of the memory.
Equal: up to float rounding.
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.rewrite import Capture, Expr, convolution, either, op

LEVEL = "all"
OPSET = 5  # Reshape takes its sizes as an input
ORDER = 18  # before linear_as_conv, which may compute it as a convolution of other blocks

_FEWEST = 1 << 19
"""Weights; with fewer the patches are moved for too little (0.92x at 2^18 on 2 threads)."""
_FRONT = [0, 3, 1, 2]


def before(x: Expr, w: Expr, b: Expr) -> Expr:
    image = either(op.Transpose(x, perm=_FRONT).named("front"), x)
    return op.Transpose(convolution(image, w, b), perm=[0, 2, 3, 1])


def when(x: Capture, front: Capture, w: Capture, conv: Capture) -> str | None:
    if x.dtype != ir.DataType.FLOAT or x.shape is None or len(x.shape) != 4:
        return ""
    if w.shape is None or len(w.shape) != 4 or w.shape[1] not in range(1, BLOCK):
        return ""
    filters, channels, *kernel = (dim if isinstance(dim, int) else 0 for dim in w.shape)
    if list(conv.attrs.get("strides", (1, 1))) != kernel or conv.attrs.get("group", 1) != 1:
        return ""
    if any(step != 1 for step in conv.attrs.get("dilations", ())):
        return "its kernel leaves out pixels"
    if not w.is_constant:
        return "its weights are not constant"
    if filters * channels * kernel[0] * kernel[1] < _FEWEST:
        return "it has few weights"
    padded = any(conv.attrs.get("pads", ()))
    if padded or conv.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "it pads"
    sides = _sides(x, front)
    if len(sides) < 2 or any(n % each for n, each in zip(sides, kernel, strict=True)):
        return "its image is not known to be made of whole patches"
    return None


def _sides(x: Capture, front: Capture) -> list[int]:
    """The height and width of an image, as far as they are known."""
    assert x.shape is not None
    sides = x.shape[2:] if front.value is None else x.shape[1:3]
    return [side for side in sides if isinstance(side, int)]


def after(x: Capture, front: Capture, w: Capture, b: Capture) -> Expr:
    assert w.const is not None
    filters, channels, high, wide = w.const.shape
    height, width = _sides(x, front)
    rows, columns = height // high, width // wide
    if front.value is not None:
        cut, order = [0, rows, high, columns, wide * channels], [0, 1, 3, 2, 4]
        weight = np.moveaxis(w.const, 1, 3)
    else:
        cut, order = [0, channels, rows, high, columns, wide], [0, 2, 4, 1, 3, 5]
        weight = w.const
    patches = op.Transpose(op.Reshape(x, np.array(cut, np.int64)), perm=order)
    deep = channels * high * wide
    flat = op.Reshape(patches, np.array([0, rows, columns, deep], np.int64))
    product = op.MatMul(flat, np.ascontiguousarray(weight.reshape(filters, deep).T))
    return product if b.value is None else product + b
