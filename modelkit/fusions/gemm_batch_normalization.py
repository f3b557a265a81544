"""Fold BatchNormalization into the weights of the Gemm before it.

Why: one kernel less a layer.
Equal: up to float rounding, in inference mode, with constant weights and statistics.
"""

import numpy as np

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
    if norm.attrs.get("training_mode", 0):
        return "the BatchNormalization is in training mode"
    if norm.node is not None and len(norm.node.outputs) != 1:
        return "the BatchNormalization has several outputs"
    if gemm.attrs.get("alpha", 1.0) != 1.0 or gemm.attrs.get("beta", 1.0) != 1.0:
        return "the Gemm scales its parts"
    for name, part in (("weight", w), ("scale", scale), ("shift", shift), ("mean", mean)):
        if not part.is_constant:
            return f"its {name} is not a constant"
    if not var.is_constant or (b.value is not None and not b.is_constant):
        return "its variance or bias is not a constant"
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
    weight, gain, offset, center, spread = (
        np.asarray(part.const) for part in (w, scale, shift, mean, var)
    )
    factor = gain / np.sqrt(spread + norm.attrs.get("epsilon", 1e-5))
    bias = np.zeros_like(center) if b.const is None else b.const.reshape(-1)
    by_row = bool(gemm.attrs.get("transB", 0))
    folded = weight * (factor.reshape(-1, 1) if by_row else factor)
    kind = weight.dtype
    moved = (bias - center) * factor + offset
    return op.Gemm(x, folded.astype(kind), moved.astype(kind), **gemm.attrs)
