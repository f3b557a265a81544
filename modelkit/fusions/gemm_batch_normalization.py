"""Fold BatchNormalization into the weights of the Gemm before it.

Why: one kernel less a layer.
Equal: up to float rounding, in inference mode, with constant weights and statistics.
"""

import numpy as np

from modelkit.fusions.conv_batch_normalization import scaling
from modelkit.fusions.conv_batch_normalization import when as unfit
from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


def with_bias(x: Expr, w: Expr, b: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    gemm = op.Gemm(x, w, b).named("gemm")
    return op.BatchNormalization(gemm, scale, shift, mean, var).named("norm")


def without_bias(x: Expr, w: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    gemm = op.Gemm(x, w).named("gemm")
    return op.BatchNormalization(gemm, scale, shift, mean, var).named("norm")


before = (with_bias, without_bias)


def when(
    w: Capture,
    b: Capture,
    scale: Capture,
    shift: Capture,
    mean: Capture,
    var: Capture,
    gemm: Capture,
    norm: Capture,
) -> str | None:
    reason = unfit(w=w, b=b, scale=scale, shift=shift, mean=mean, var=var, norm=norm)
    if reason is not None:
        return reason
    if gemm.attrs.get("alpha", 1.0) != 1.0 or gemm.attrs.get("beta", 1.0) != 1.0:
        return "the Gemm scales its parts"
    if b.const is not None and b.const.ndim == 2 and b.const.shape[0] != 1:
        return "its bias differs from row to row"
    return None


def after(
    x: Capture,
    w: Capture,
    b: Capture,
    scale: Capture,
    shift: Capture,
    mean: Capture,
    var: Capture,
    gemm: Capture,
    norm: Capture,
) -> Expr:
    weight = np.asarray(w.const)
    factor, bias = scaling(b, scale, shift, mean, var, norm)
    by_row = bool(gemm.attrs.get("transB", 0))
    folded = weight * (factor.reshape(-1, 1) if by_row else factor)
    return op.Gemm(x, folded.astype(weight.dtype), bias.astype(weight.dtype), **gemm.attrs)
