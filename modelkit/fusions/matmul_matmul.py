"""Multiply the weights of two linear layers that follow each other, where that is less work.

Why: a spectrum that is only read through mel filters is as many products with filters of the signal
itself, a tenth of them; heads of several linear layers are one.
Equal: up to float rounding; the product of the weights is rounded once.
"""

import numpy as np
import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "basic"

_LESS = 0.9  # of the multiplications, or fewer


def _layer(x: Expr, w: Expr, b: Expr) -> Expr:
    product = op.MatMul(x, w)
    return either((product + b).named("inner"), product.named("inner"))


def direct(x: Expr, w: Expr, b: Expr, v: Expr) -> Expr:
    return op.MatMul(_layer(x, w, b), v)


def reshaped(x: Expr, w: Expr, b: Expr, v: Expr, shape: Expr) -> Expr:
    return op.MatMul(op.Reshape(_layer(x, w, b), shape).named("rows"), v)


before = (reshaped, direct)


def when(
    x: Capture, w: Capture, b: Capture, v: Capture, shape: Capture, rows: Capture
) -> str | None:
    if x.dtype != ir.DataType.FLOAT or not w.is_constant or not v.is_constant:
        return ""
    if w.shape is None or v.shape is None or len(w.shape) != 2 or len(v.shape) != 2:
        return ""
    (read, inner), (_, made) = (_sides(w), _sides(v))
    if b.value is not None and (not b.is_constant or b.shape not in ((inner,), (1,), ())):
        return "the bias between is not a constant vector"
    if shape.value is not None and (
        shape.const is None or rows.shape is None or rows.shape[-1] != inner
    ):
        return "what lies between does not keep the rows"
    if read * made > _LESS * (read * inner + inner * made):
        return ""  # a bottleneck, which is less work as it is
    if any(part.value is None or len(part.value.uses()) > 1 for part in (w, v)):
        return "one of its weights is used elsewhere too"
    return None


def _sides(w: Capture) -> tuple[int, int]:
    assert w.const is not None
    return w.const.shape[0], w.const.shape[1]


def after(x: Capture, w: Capture, b: Capture, v: Capture, shape: Capture) -> Expr:
    assert w.const is not None
    assert v.const is not None
    second = v.const.astype(np.float64)
    merged = op.MatMul(x, (w.const.astype(np.float64) @ second).astype(np.float32))
    if b.const is not None:
        bias = np.broadcast_to(b.const.reshape(-1), second.shape[:1]).astype(np.float64)
        merged = merged + (bias @ second).astype(np.float32)
    if shape.const is None:
        return merged
    sizes = np.array([*shape.const.reshape(-1)[:-1], second.shape[1]], np.int64)
    return op.Reshape(merged, sizes)
