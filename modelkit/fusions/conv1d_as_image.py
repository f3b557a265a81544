"""Compute a convolution of sequences as one of images one pixel high.

Why: ONNX Runtime's blocked layout, and the kernels that need it, are for images only.
Equal: up to float rounding.
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.rewrite import Capture, Expr, convolution, op

LEVEL = "all"
OPSET = 13
ORDER = 20  # when all constants are in the weights

HEIGHT = np.array([2], np.int64)
SHARE = 64
"""Channels of an image's row that one thread computes at once."""


def before(x: Expr, w: Expr, b: Expr) -> Expr:
    return convolution(x, w, b)


def when(x: Capture, w: Capture, conv: Capture) -> str | None:
    return "" if is_narrow(w, conv) else refusal(x, w, conv)


def is_narrow(w: Capture, conv: Capture) -> bool:
    """Whether one thread would compute all that comes of a sequence."""
    out = w.shape[0] if w.shape is not None else None
    return isinstance(out, int) and out <= SHARE and conv.attrs.get("group", 1) == 1


def refusal(x: Capture, w: Capture, conv: Capture) -> str | None:
    """Why a convolution stays as it is; None: it need not."""
    if x.shape is None:
        return "the rank of its input is unknown"
    if len(x.shape) != 3:
        return ""
    if x.dtype != ir.DataType.FLOAT:
        return "it is not float32"
    if not w.is_constant or w.shape is None:
        return "its weight is not constant"
    into, out = x.shape[1], w.shape[0]
    if not isinstance(into, int) or not isinstance(out, int) or into % BLOCK or out % BLOCK:
        return f"its channels are not multiples of {BLOCK}"
    if conv.attrs.get("group", 1) not in (1, out) and w.shape[2] == 1:
        return "it is a matrix product for each group, which is as fast as it is"
    return None


def after(x: Capture, w: Capture, b: Capture, conv: Capture) -> Expr:
    assert w.const is not None
    kernel = w.const[:, :, None, :]
    said = dict(conv.attrs)
    for name in ("strides", "dilations", "kernel_shape"):
        if name in said:
            said[name] = [1, *said[name]]
    if "pads" in said:
        first, last = said["pads"]
        said["pads"] = [0, first, 0, last]
    made = op.Conv(op.Unsqueeze(x, HEIGHT), kernel, b, **said)
    return op.Squeeze(made, HEIGHT)
