"""Add what a mask forbids to scores, instead of blending or replacing scores by a large number.

Why: attention is known by scores plus a mask; where many heads share one, it is made once.  Keras'
Softmax layer writes scores * allowed + lowest * forbidden, GPT-Neo and torch's ``masked_fill`` a
Where.
Equal: exactly, for scores below 1e22; beside the number they vanish in.
"""

import numpy as np
import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, op

ORDER = -1  # before attention

LOW = -1e30
"""Beside it and what is lower, scores vanish."""
_DEEPEST = 4
_AROUND = ("Add", "Sub", "Mul", "Div", "Max")
"""What may stand between scores and the product they are, or the Softmax they go to."""


def blended(scores: Expr, allowed: Expr, low: Expr) -> Expr:
    # All layers share one mask.
    kept = scores * op.Cast(allowed).named("kept").shared()
    lost = op.Cast(op.Not(allowed).shared()).named("lost").shared()
    return kept + (low * lost).shared()


def chosen(scores: Expr, allowed: Expr, low: Expr) -> Expr:
    return op.Where(allowed, scores, low).named("made")


def replaced(scores: Expr, forbidden: Expr, low: Expr) -> Expr:
    return op.Where(forbidden, low, scores).named("made")


before = (blended, chosen, replaced)


def when(
    scores: Capture,
    allowed: Capture,
    forbidden: Capture,
    low: Capture,
    kept: Capture,
    lost: Capture,
    made: Capture,
) -> str | None:
    mask = forbidden if allowed.value is None else allowed
    if scores.dtype != ir.DataType.FLOAT or mask.dtype != ir.DataType.BOOL:
        return ""
    if any(part.value and part.attrs.get("to") != ir.DataType.FLOAT for part in (kept, lost)):
        return ""
    if low.const is None or low.const.size != 1:
        return ""
    if mask.shape is None or low.const.ndim > len(mask.shape):
        return ""
    if made.value is not None and not (_is_product(scores.value) and _is_weighed(made.value)):
        return ""
    number = float(np.reshape(low.const, ()))
    lowest = -np.inf if kept.value is None else np.finfo(np.float32).min
    return None if lowest <= number <= LOW else ""


def _is_product(value: ir.Value | None, depth: int = _DEEPEST) -> bool:
    """Whether ``value`` is a product of matrices, perhaps scaled and moved."""
    node = None if value is None else value.producer()
    if node is None or not depth:
        return False
    return node.op_type == "MatMul" or (
        node.op_type in _AROUND and any(_is_product(each, depth - 1) for each in node.inputs)
    )


def _is_weighed(value: ir.Value, depth: int = _DEEPEST) -> bool:
    """Whether ``value`` goes to a Softmax, perhaps behind another mask, and nowhere else."""
    users = [user for user, _ in value.uses()]
    if len(users) != 1 or not depth or value.is_graph_output():
        return False
    return users[0].op_type == "Softmax" or (
        users[0].op_type in _AROUND and _is_weighed(users[0].outputs[0], depth - 1)
    )


def after(scores: Capture, allowed: Capture, forbidden: Capture, low: Capture) -> Expr:
    number = np.asarray(low.const).reshape(())
    zero = np.zeros_like(number)
    if allowed.value is None:
        return scores + op.Where(forbidden, number, zero)
    return scores + op.Where(allowed, zero, number)
