"""Fold the constant added to each channel behind a Conv into its bias.

Why: one kernel less, and no pass over the feature map.
Equal: up to float rounding.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


def with_bias(x: Expr, w: Expr, b: Expr, c: Expr) -> Expr:
    return op.Conv(x, w, b).named("conv") + c


def without_bias(x: Expr, w: Expr, c: Expr) -> Expr:
    return op.Conv(x, w).named("conv") + c


before = (with_bias, without_bias)


def when(w: Capture, b: Capture, c: Capture) -> str | None:
    if not c.is_constant:
        return ""
    if b.value is not None and not b.is_constant:
        return "its bias is not a constant"
    if w.shape is None or not isinstance(w.shape[0], int):
        return "the number of channels is unknown"
    shape = np.asarray(c.const).shape
    whole = [1] * (len(w.shape) - len(shape)) + list(shape)
    if len(shape) > len(w.shape) or whole[0] != 1 or set(whole[2:]) - {1}:
        return "what is added differs within a channel"
    if whole[1] not in (1, w.shape[0]):
        return "what is added differs within a channel"
    return None


def after(x: Capture, w: Capture, b: Capture, c: Capture, conv: Capture) -> Expr:
    assert w.shape is not None
    assert c.const is not None
    bias = np.broadcast_to(c.const.reshape(-1), (w.shape[0],))  # type: ignore[arg-type]
    return op.Conv(x, w, bias if b.const is None else b.const + bias, **conv.attrs)
