"""Compute a linear layer as a 1x1 convolution.

Why: ONNX Runtime's CPU convolution kernels work on blocked layouts and beat its MatMul: 1.2x on
the linear layers of MiniLM at 128 tokens, 1.4x at 16 (1 thread, AVX-512).  All rows of the batch
become the pixels of one image, so that the weights are read once.  The transposes become reorders
between blocked layouts, or vanish between two such layers.
Equal: up to float rounding.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, op

LEVEL = "all"
ORDER = 20  # when all constants are in the weights

FEW = 1 << 17  # weights; below, they stay in the cache and MatMul wins (0.8-1.0x)
NARROW = 128  # channels; fewer leave a kernel's four blocks half empty (0.5-0.95x at 16 to 64)
BLOCK = 16  # channels in a block of ONNX Runtime's AVX-512 layout
UNIT = 4  # of so many channels the blocked kernels fill up what is missing in a block

EMPTY = "it may have no rows, and ONNX Runtime takes no image without pixels"
AS_IMAGES = ("linear_as_conv", "gemm_as_conv", "mlp_as_conv")
_COUNTING = ("NonMaxSuppression", "NonZero", "Compress", "Unique", "Loop", "If")


def with_bias(x: Expr, w: Expr, b: Expr) -> Expr:
    return op.MatMul(x, w) + b


def plain(x: Expr, w: Expr) -> Expr:
    return op.MatMul(x, w)


before = (with_bias, plain)


def when(x: Capture, w: Capture, b: Capture) -> str | None:
    if x.dtype != ir.DataType.FLOAT or x.shape is None or len(x.shape) not in (3, 4):
        return "its input is not known to be float32 with three or four axes"
    if not w.is_constant or w.shape is None or len(w.shape) != 2:
        return "its weight is not a constant matrix"
    if b.value is not None and (not b.is_constant or list(b.shape or ()) != [w.shape[1]]):
        return "its bias is not a constant vector"
    deep, wide = (dim if isinstance(dim, int) else 0 for dim in w.shape)
    if deep % BLOCK or wide % BLOCK:
        return f"its widths are not multiples of {BLOCK}"
    if deep * wide < FEW:
        return "its weights are so few that they stay in the cache"
    if min(deep, wide) < NARROW:
        return "it is narrow"
    return EMPTY if may_be_empty(x) else None


def may_be_empty(x: Capture) -> bool:
    """Whether the rows of ``x`` are counted while the model runs, as boxes that were found are."""
    open_axes = (axis for axis, _ in enumerate((x.shape or ())[:-1]) if x.length(axis, 1) is None)
    if x.value is None or next(open_axes, None) is None:
        return False
    seen, waiting = set(), [x.value]
    while waiting:
        node = waiting.pop().producer()
        if node is None or node in seen:
            continue
        if node.op_type in _COUNTING:
            return True
        seen.add(node)
        waiting += [value for value in node.inputs if value is not None]
    return False


def after(x: Capture, w: Capture, b: Capture) -> Expr:
    assert x.shape is not None and w.const is not None
    added = () if len(x.shape) == 4 else (0,)
    return as_rows(convolved(as_image(x, added), w.const, b), added)


def as_image(rows: Expr, added: Sequence[int]) -> Expr:
    """The ``rows`` [..., width] as an image [N, width, H, W], with axes of one ``added``."""
    whole = op.Unsqueeze(rows, np.array(added, np.int64)) if added else rows
    return op.Transpose(whole, perm=[0, 3, 1, 2])


def as_rows(image: Expr, added: Sequence[int]) -> Expr:
    """What :func:`as_image` was given."""
    whole = op.Transpose(image, perm=[0, 2, 3, 1])
    return op.Squeeze(whole, np.array(added, np.int64)) if added else whole


def convolved(image: Expr, weight: np.ndarray, bias: Capture) -> Expr:
    """The linear layer of ``weight`` [in, out] for each pixel of ``image`` [N, in, H, W]."""
    kernel = weight.T[:, :, None, None]  # a view: of any size, it is copied when written only
    return op.Conv(image, kernel, bias, kernel_shape=[1, 1])
