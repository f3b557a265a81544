"""Fold a constant factor behind a linear layer into its weights.

Why: one kernel less; layer scales and the scale of attention queries are such factors.
Equal: up to float rounding.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"
ORDER = 10  # what larger patterns leave


def plain(x: Expr, w: Expr, c: Expr) -> Expr:
    return op.MatMul(x, w) * c


def with_bias(x: Expr, w: Expr, b: Expr, c: Expr) -> Expr:
    return (op.MatMul(x, w) + b) * c


before = (with_bias, plain)


def when(w: Capture, b: Capture, c: Capture) -> str | None:
    parts = [part for part in (w, b, c) if part.value is not None]
    if not all(part.is_constant for part in parts):
        return "the factor, the weight or the bias is not a constant"
    if w.shape is None or len(w.shape) != 2:
        return "its weight is not a matrix"
    if w.value is not None and len(w.value.uses()) > 1:
        return "its weight is used elsewhere too"
    for part in (b, c):
        if part.value is not None and np.asarray(part.const).shape not in ((), (1,), (w.shape[1],)):
            return "the factor or the bias is not one for each column"
    return None


def after(x: Capture, w: Capture, b: Capture, c: Capture) -> Expr:
    scaled = op.MatMul(x, np.asarray(w.const) * c.const)
    return scaled if b.const is None else scaled + b.const * c.const
