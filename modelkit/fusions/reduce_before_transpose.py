"""Reduce axes before they are moved, not after.

Why: nothing is copied, or only what is left; TensorFlow's means over a feature map stand behind a
Transpose, which also hides them from what looks for a pool.
Only where what is reduced then stands last: there numbers lie side by side, and ONNX Runtime adds
them in a better order.
Equal: up to float rounding, sums are added in another order.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "basic"
ORDER = -3  # before squeeze_excite, which looks for a mean over a feature map

KINDS = (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
)  # fmt: skip


def reduction(x: Expr, axes: Expr) -> Expr:
    """Any reduction of ``x``, over axes that are an input or an attribute."""
    by_input = (Expr(kind, (x, axes)).named("reduced") for kind in KINDS)
    by_attribute = (Expr(kind, (x,)).named("reduced") for kind in KINDS)
    return either(*by_input, *by_attribute)


def axes_of(reduced: Capture, axes: Capture, rank: int) -> list[int] | None:
    """The axes that ``reduced`` reduces, counted from the front; None where it tells none."""
    said = reduced.attrs.get("axes") if axes.value is None else axes.const
    if said is None or np.size(said) == 0:
        return None
    return sorted(int(axis) % rank for axis in np.asarray(said).reshape(-1))


def over(reduced: Capture, axes: Capture, x: Expr, places: list[int], keepdims: int) -> Expr:
    """The reduction that made ``reduced``, of ``x`` over ``places``."""
    assert reduced.node is not None
    kind, said = reduced.node.op_type, {**reduced.attrs, "keepdims": keepdims}
    if axes.value is None:
        return Expr(kind, (x,), {**said, "axes": places})
    return Expr(kind, (x, np.array(places, np.int64)), said)


def before(x: Expr, axes: Expr) -> Expr:
    return reduction(op.Transpose(x).named("moved").shared(), axes)


def when(x: Capture, axes: Capture, moved: Capture, reduced: Capture) -> str | None:
    order = [int(axis) for axis in moved.attrs.get("perm", ())]
    gone = axes_of(reduced, axes, len(order)) if order else None
    if gone is None:
        return ""
    first = len(order) - len(gone)
    return None if sorted(order[axis] for axis in gone) == [*range(first, len(order))] else ""


def after(x: Capture, axes: Capture, moved: Capture, reduced: Capture) -> Expr:
    order = [int(axis) for axis in moved.attrs["perm"]]
    gone = axes_of(reduced, axes, len(order))
    assert gone is not None
    kept = int(reduced.attrs.get("keepdims", 1))
    early = over(reduced, axes, x, sorted(order[axis] for axis in gone), kept)
    if kept:
        return op.Transpose(early, perm=order)
    rest = [axis for place, axis in enumerate(order) if place not in gone]
    if rest == sorted(rest):
        return early
    return op.Transpose(early, perm=[sorted(rest).index(axis) for axis in rest])
