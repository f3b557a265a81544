"""Fold BatchNormalization into the weights of the Conv before it.

Why: one kernel less a layer, and no pass over the feature map.
Equal: up to float rounding, in inference mode, with constant weights and statistics.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


def with_bias(x: Expr, w: Expr, b: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    conv = op.Conv(x, w, b).named("conv")
    return op.BatchNormalization(conv, scale, shift, mean, var).named("norm")


def without_bias(x: Expr, w: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    conv = op.Conv(x, w).named("conv")
    return op.BatchNormalization(conv, scale, shift, mean, var).named("norm")


before = (with_bias, without_bias)


def when(
    w: Capture,
    b: Capture,
    scale: Capture,
    shift: Capture,
    mean: Capture,
    var: Capture,
    norm: Capture,
) -> str | None:
    if norm.attrs.get("training_mode", 0):
        return "the BatchNormalization is in training mode"
    if norm.node is not None and len(norm.node.outputs) != 1:
        return "the BatchNormalization has several outputs"
    for name, part in (("weight", w), ("scale", scale), ("shift", shift), ("mean", mean)):
        if not part.is_constant:
            return f"its {name} is not a constant"
    if not var.is_constant or (b.value is not None and not b.is_constant):
        return "its variance or bias is not a constant"
    return None


def scaling(
    b: Capture, scale: Capture, shift: Capture, mean: Capture, var: Capture, norm: Capture
) -> tuple[np.ndarray, np.ndarray]:
    """By what a normalization multiplies each channel of what stands before it, and the new bias.

    ``b`` is the bias there may be already; both results are [channels].
    """
    gain, offset, center, spread = (np.asarray(part.const) for part in (scale, shift, mean, var))
    factor = gain / np.sqrt(spread + norm.attrs.get("epsilon", 1e-5))
    bias = np.zeros_like(center) if b.const is None else b.const.reshape(-1)
    return factor, ((bias - center) * factor + offset).astype(center.dtype)


def after(
    x: Capture,
    w: Capture,
    b: Capture,
    scale: Capture,
    shift: Capture,
    mean: Capture,
    var: Capture,
    conv: Capture,
    norm: Capture,
) -> Expr:
    weight = np.asarray(w.const)
    factor, bias = scaling(b, scale, shift, mean, var, norm)
    folded = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return op.Conv(x, folded.astype(weight.dtype), bias.astype(weight.dtype), **conv.attrs)
