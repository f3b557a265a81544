"""Fold BatchNormalization into the weights of the ConvTranspose before it.

Why: one kernel less a layer, and no pass over the feature map.
Equal: up to float rounding, in inference mode, with constant weights and statistics.
"""

import numpy as np

from modelkit.fusions.conv_batch_normalization import scaling
from modelkit.fusions.conv_batch_normalization import when as when
from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


def with_bias(x: Expr, w: Expr, b: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    conv = op.ConvTranspose(x, w, b).named("conv")
    return op.BatchNormalization(conv, scale, shift, mean, var).named("norm")


def without_bias(x: Expr, w: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    conv = op.ConvTranspose(x, w).named("conv")
    return op.BatchNormalization(conv, scale, shift, mean, var).named("norm")


before = (with_bias, without_bias)


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
    # Weights are [inputs, outputs of a group, ...], group after group along the inputs.
    groups = conv.attrs.get("group", 1)
    spatial = [1] * (weight.ndim - 2)
    rows = np.repeat(factor.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    folded = weight * rows.reshape(*weight.shape[:2], *spatial)
    return op.ConvTranspose(x, folded.astype(weight.dtype), bias.astype(weight.dtype), **conv.attrs)
