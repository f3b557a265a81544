"""Add what a mask forbids to scores, instead of blending scores and a large number by it.

Why: two kernels instead of six; attention is known by scores plus a mask.  Keras' Softmax layer
writes scores * allowed + lowest * forbidden.
Equal: exactly, for scores below 1e22; beside the number they vanish in.
"""

import numpy as np
import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, op

ORDER = -1  # before attention

_LOW = -1e30


def before(scores: Expr, allowed: Expr, low: Expr) -> Expr:
    # All layers share one mask.
    kept = scores * op.Cast(allowed).named("kept").shared()
    lost = op.Cast(op.Not(allowed).shared()).named("lost").shared()
    return kept + (low * lost).shared()


def when(
    scores: Capture, allowed: Capture, low: Capture, kept: Capture, lost: Capture
) -> str | None:
    if scores.dtype != ir.DataType.FLOAT or allowed.dtype != ir.DataType.BOOL:
        return ""
    if any(part.attrs.get("to") != ir.DataType.FLOAT for part in (kept, lost)):
        return ""
    if low.const is None or low.const.size != 1:
        return ""
    if allowed.shape is None or low.const.ndim > len(allowed.shape):
        return ""
    number = float(np.reshape(low.const, ()))
    return None if np.isfinite(number) and number <= _LOW else ""


def after(scores: Capture, allowed: Capture, low: Capture) -> Expr:
    number = np.asarray(low.const).reshape(())
    return scores + op.Where(allowed, np.zeros_like(number), number)
