"""Fold BatchNormalization into the weights of the ConvTranspose before it.

Why: one kernel less a layer, and no pass over the feature map.
Equal: up to float rounding, in inference mode, with constant weights and statistics.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


def with_bias(x: Expr, w: Expr, b: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    conv = op.ConvTranspose(x, w, b).named("conv")
    return op.BatchNormalization(conv, scale, shift, mean, var).named("norm")


def without_bias(x: Expr, w: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    conv = op.ConvTranspose(x, w).named("conv")
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
    weight, gain, offset, center, spread = (
        np.asarray(part.const) for part in (w, scale, shift, mean, var)
    )
    factor = gain / np.sqrt(spread + norm.attrs.get("epsilon", 1e-5))
    bias = np.zeros_like(center) if b.const is None else b.const
    # Weights are [inputs, outputs of a group, ...], group after group along the inputs.
    groups = conv.attrs.get("group", 1)
    spatial = [1] * (weight.ndim - 2)
    rows = np.repeat(factor.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    folded = weight * rows.reshape(*weight.shape[:2], *spatial)
    kind = weight.dtype
    moved = (bias - center) * factor + offset
    return op.ConvTranspose(x, folded.astype(kind), moved.astype(kind), **conv.attrs)
