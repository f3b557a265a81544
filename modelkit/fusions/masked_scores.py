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
LOW_TWICE = -1e9
"""The same for shares that are forbidden again: nothing is left of it beside one score."""
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


def blended_twice(scores: Expr, allowed: Expr, low: Expr, none: Expr) -> Expr:
    """Keras from 3.10 on forbids the shares too, so that rows without a key get none."""
    share = op.Softmax(blended(scores, allowed, low), axis=-1).named("share")
    kept = share * op.Cast(allowed).named("kept_again").shared()
    lost = op.Cast(op.Not(allowed).shared()).named("lost_again").shared()
    return kept + (none * lost).shared()


before = (blended_twice, blended, chosen, replaced)


def when(
    scores: Capture,
    allowed: Capture,
    forbidden: Capture,
    low: Capture,
    none: Capture,
    kept: Capture,
    lost: Capture,
    kept_again: Capture,
    lost_again: Capture,
    made: Capture,
) -> str | None:
    mask = forbidden if allowed.value is None else allowed
    if scores.dtype != ir.DataType.FLOAT or mask.dtype != ir.DataType.BOOL:
        return ""
    casts = (kept, lost, kept_again, lost_again)
    if any(part.value and part.attrs.get("to") != ir.DataType.FLOAT for part in casts):
        return ""
    if none.value is not None and (none.const is None or none.const.any()):
        return ""
    if low.const is None or low.const.size != 1:
        return ""
    if mask.shape is None or low.const.ndim > len(mask.shape):
        return ""
    if made.value is not None and not (_is_product(scores.value) and _is_weighed(made.value)):
        return ""
    number = float(np.reshape(low.const, ()))
    lowest = -np.inf if kept.value is None else np.finfo(np.float32).min
    return None if lowest <= number <= (LOW if none.value is None else LOW_TWICE) else ""


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


def after(
    scores: Capture, allowed: Capture, forbidden: Capture, low: Capture, none: Capture
) -> Expr:
    if none.value is not None:
        zero, never = np.array(0, np.float32), np.array(-np.inf, np.float32)
        share = op.Softmax(scores + op.Where(allowed, zero, never), axis=-1)
        # Rows without a key: the kernel of Attention makes zeros of them, too.
        return op.Where(op.IsNaN(share), zero, share)
    number = np.asarray(low.const).reshape(())
    zero = np.zeros_like(number)
    if allowed.value is None:
        return scores + op.Where(forbidden, number, zero)
    return scores + op.Where(allowed, zero, number)
