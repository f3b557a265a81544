"""Scale or move the channels of a map where they are, not where a transpose has moved them.

Why: one small operand is moved instead of a map, twice; TensorFlow's squeeze-and-excitation
stands between such transposes, which also hide it from what looks for it.
Only where a transpose back, or a reduction of the other axes, stands behind.
Equal: exactly.
"""

import numpy as np

from modelkit.fusions.reduce_before_transpose import axes_of, reduction
from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "basic"
OPSET = 7  # operators broadcast
ORDER = -4  # before reduce_before_transpose and what looks for squeeze-and-excitation

_KINDS = ("Mul", "Add", "Sub", "Div")


def _gated(x: Expr, gate: Expr) -> Expr:
    moved = op.Transpose(x).named("moved").shared()
    return either(*(Expr(kind, (moved, gate)).named("made") for kind in _KINDS))


def moved_back(x: Expr, gate: Expr) -> Expr:
    return op.Transpose(_gated(x, gate)).named("back")


def reduced(x: Expr, gate: Expr, axes: Expr) -> Expr:
    return reduction(_gated(x, gate), axes)


before = (moved_back, reduced)


def when(
    x: Capture, gate: Capture, moved: Capture, back: Capture, reduced: Capture, axes: Capture
) -> str | None:
    order = [int(axis) for axis in moved.attrs.get("perm", ())]
    like = gate.aligned(len(order))
    if not order or x.shape is None or like is None or like == moved.shape:
        return ""
    long = [axis for axis, dim in enumerate(like) if axis and dim != 1]
    if len(long) > 1:
        return ""
    if back.value is not None:
        again = back.attrs.get("perm", ())
        return None if [order[axis] for axis in again] == [*range(len(order))] else ""
    gone = axes_of(reduced, axes, len(order))
    return "" if gone is None or 0 in gone or not {*gone}.isdisjoint(long) else None


def after(
    x: Capture, gate: Capture, axes: Capture, moved: Capture, made: Capture, reduced: Capture
) -> Expr:
    assert made.node is not None
    order = [int(axis) for axis in moved.attrs["perm"]]
    early = Expr(made.node.op_type, (x, _moved_back(gate, order)))
    if reduced.value is None:
        return early
    assert reduced.node is not None
    operands = (op.Transpose(early, perm=order), *((axes,) if axes.value is not None else ()))
    return Expr(reduced.node.op_type, operands, reduced.attrs)


def _moved_back(gate: Capture, order: list[int]) -> Expr:
    """``gate`` with its axes where a Transpose by ``order`` took them from."""
    like = gate.aligned(len(order))
    assert like is not None
    if gate.shape == like:
        return op.Transpose(gate, perm=np.argsort(order).tolist())
    # With fewer axes it has none for the batch, and at most one that is longer than 1.
    sizes = [1] * len(order)
    for axis, dim in enumerate(like):
        sizes[order[axis]] = 1 if dim == 1 else -1
    return op.Reshape(gate, np.array(sizes, np.int64))
