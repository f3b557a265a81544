"""Merge two Clips with constant limits into one.

Why: one kernel less.
Equal: exactly.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"
OPSET = 11


def before(x: Expr, low: Expr, high: Expr, floor: Expr, ceiling: Expr) -> Expr:
    return op.Clip(op.Clip(x, low, high), floor, ceiling)


def when(low: Capture, high: Capture, floor: Capture, ceiling: Capture) -> str | None:
    limits = [part.const for part in (low, floor, high, ceiling)]
    values = [limit.item() for limit in limits if limit is not None and limit.size == 1]
    if len(values) != len(limits):
        return "their limits are not constant"
    if max(values[:2]) > min(values[2:]):
        return "their ranges do not meet"
    return None


def after(x: Capture, low: Capture, high: Capture, floor: Capture, ceiling: Capture) -> Expr:
    assert low.const is not None
    assert high.const is not None
    assert floor.const is not None
    assert ceiling.const is not None
    return op.Clip(x, np.maximum(low.const, floor.const), np.minimum(high.const, ceiling.const))
