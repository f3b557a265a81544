"""Fold BatchNormalization of flattened rows into the weights of the linear layer before it.

Why: one kernel less a layer, and the Reshapes around it go; LeViT normalizes so.
Equal: up to float rounding, in inference mode, with constant weights and statistics.
"""

import numpy as np

from modelkit.fusions.conv_batch_normalization import scaling
from modelkit.fusions.conv_batch_normalization import when as unfit
from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


def _norm(rows: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    return op.BatchNormalization(rows.named("rows"), scale, shift, mean, var).named("norm")


def reshaped(
    x: Expr, w: Expr, shape: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr
) -> Expr:
    return _norm(op.Reshape(op.MatMul(x, w), shape), scale, shift, mean, var)


def flattened(x: Expr, w: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    return _norm(op.Flatten(op.MatMul(x, w)), scale, shift, mean, var)


def reshaped_with_bias(
    x: Expr, w: Expr, b: Expr, shape: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr
) -> Expr:
    return _norm(op.Reshape(op.MatMul(x, w) + b, shape), scale, shift, mean, var)


def flattened_with_bias(
    x: Expr, w: Expr, b: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr
) -> Expr:
    return _norm(op.Flatten(op.MatMul(x, w) + b), scale, shift, mean, var)


before = (reshaped, flattened, reshaped_with_bias, flattened_with_bias)


def when(
    w: Capture,
    b: Capture,
    scale: Capture,
    shift: Capture,
    mean: Capture,
    var: Capture,
    rows: Capture,
    norm: Capture,
) -> str | None:
    reason = unfit(w=w, b=b, scale=scale, shift=shift, mean=mean, var=var, norm=norm)
    if reason is not None:
        return reason
    if w.shape is None or len(w.shape) != 2:
        return "its weight is not a matrix"
    if rows.shape is None or len(rows.shape) != 2 or rows.shape[1] != w.shape[1]:
        return "its rows are not flattened into [rows, channels]"
    if b.const is not None and b.const.shape != (w.shape[1],):
        return "its bias is not one for each column"
    return None


def after(
    x: Capture,
    w: Capture,
    b: Capture,
    shape: Capture,
    scale: Capture,
    shift: Capture,
    mean: Capture,
    var: Capture,
    rows: Capture,
    norm: Capture,
) -> Expr:
    weight = np.asarray(w.const)
    factor, bias = scaling(b, scale, shift, mean, var, norm)
    linear = op.MatMul(x, (weight * factor).astype(weight.dtype)) + bias.astype(weight.dtype)
    if shape.value is None:
        return op.Flatten(linear, **rows.attrs)
    return op.Reshape(linear, shape, **rows.attrs)
