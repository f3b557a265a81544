"""Fold the constant that multiplies each channel behind a Conv into its weights.

Why: one kernel less, and no pass over the feature map.
Equal: up to float rounding.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


def with_bias(x: Expr, w: Expr, b: Expr, c: Expr) -> Expr:
    return op.Conv(x, w, b).named("conv") * c


def without_bias(x: Expr, w: Expr, c: Expr) -> Expr:
    return op.Conv(x, w).named("conv") * c


before = (with_bias, without_bias)


def when(w: Capture, b: Capture, c: Capture) -> str | None:
    if not c.is_constant:
        return ""
    if not w.is_constant or (b.value is not None and not b.is_constant):
        return "the weight or the bias is not a constant"
    if w.value is not None and len(w.value.uses()) > 1:
        return "its weight is used elsewhere too"
    weight, shape = np.asarray(w.const), np.asarray(c.const).shape
    whole = [1] * (weight.ndim - len(shape)) + list(shape)
    if len(shape) > weight.ndim or whole[0] != 1 or set(whole[2:]) - {1}:
        return "the factor differs within a channel"
    if whole[1] not in (1, weight.shape[0]):
        return "the factor differs within a channel"
    return None


def after(x: Capture, w: Capture, b: Capture, c: Capture, conv: Capture) -> Expr:
    weight = np.asarray(w.const)
    factor = np.broadcast_to(np.asarray(c.const).reshape(-1), (weight.shape[0],))
    folded = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    bias = None if b.const is None else b.const * factor
    return op.Conv(x, folded, bias, **conv.attrs)
