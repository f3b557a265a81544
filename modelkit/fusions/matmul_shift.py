"""Fold what is added to a gated map before a linear layer into the bias of that layer.

Why: one pass over the map less, and nothing stands between the gate and the layer.
Equal: up to float rounding.
"""

import numpy as np
import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, op

ORDER = 11  # behind what folds factors into the layer, before linear_as_conv


def before(x: Expr, g: Expr, c: Expr, w: Expr, b: Expr) -> Expr:
    return op.MatMul((x * g).named("gated") + c, w) + b


def when(x: Capture, g: Capture, c: Capture, w: Capture, b: Capture, gated: Capture) -> str | None:
    if not all(part.is_constant for part in (c, w, b)):
        return ""
    if any(part.is_constant for part in (x, g)):
        return ""  # as a normalization ends, which is to be known by it
    if w.dtype != ir.DataType.FLOAT or w.shape is None or len(w.shape) != 2:
        return "its weight is no matrix of float32"
    if gated.shape is None or not _is_row(c, len(gated.shape), w.shape[0]):
        return "what is added is not one number for each column"
    return None if _is_row(b, len(gated.shape), w.shape[1]) else "its bias is no row"


def _is_row(part: Capture, rank: int, width: int | str | None) -> bool:
    like = part.aligned(rank)
    return like is not None and set(like[:-1]) <= {1} and like[-1] in (1, width)


def after(c: Capture, w: Capture, b: Capture, gated: Capture) -> Expr:
    weight = np.asarray(w.const)
    row = np.broadcast_to(np.asarray(c.const, np.float64).reshape(-1), (len(weight),))
    bias: np.ndarray = np.asarray(b.const).reshape(-1) + row @ weight
    layer: Expr = op.MatMul(gated, w) + bias.astype(np.float32)
    return layer
