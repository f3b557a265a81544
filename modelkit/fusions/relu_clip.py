"""Merge a Relu into the Clip beside it.

Why: one kernel less.
Equal: exactly.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"
OPSET = 11


def relu_first(x: Expr, low: Expr, high: Expr) -> Expr:
    return op.Clip(op.Relu(x), low, high)


def relu_last(x: Expr, low: Expr, high: Expr) -> Expr:
    return op.Relu(op.Clip(x, low, high))


before = (relu_first, relu_last)


def when(low: Capture, high: Capture) -> str | None:
    if low.const is None or high.const is None or low.const.size * high.const.size != 1:
        return "its limits are not constant"
    if not 0 <= high.const.item() >= low.const.item():
        return "its upper limit is below zero or the lower one"
    return None


def after(x: Capture, low: Capture, high: Capture) -> Expr:
    assert low.const is not None
    return op.Clip(x, np.maximum(low.const, np.zeros_like(low.const)), high)
