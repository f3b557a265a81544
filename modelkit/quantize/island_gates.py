"""Multiply by or add a gate as it is, which was written at the size of the map for float kernels.

Why: no integer kernel resizes, so the chain of integers breaks at every squeeze-and-excite block.
Equal: exactly the same numbers, each with the same.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, either, op

_KINDS = ("Mul", "Add")


def before(x: Expr, gate: Expr, ones: Expr, scales: Expr) -> Expr:
    taken_in = op.Conv(gate, ones).named("taken_in")
    grown = op.Resize(either(taken_in, gate), None, scales).named("resize")
    return either(*(Expr(kind, (x, grown)).named("made") for kind in _KINDS))


def when(
    x: Capture, gate: Capture, ones: Capture, taken_in: Capture, scales: Capture, resize: Capture
) -> str | None:
    if taken_in.value is not None and not _keeps(taken_in, ones):
        return ""
    if resize.attrs.get("mode", "nearest") != "nearest":
        return "it interpolates"
    if gate.shape is None or len(gate.shape) != 4 or tuple(gate.shape[2:]) != (1, 1):
        return "what is resized is not one number a channel"
    if x.shape is None or scales.const is None:
        return "its size is not fixed"
    if [1, 1, *x.shape[2:]] != scales.const.reshape(-1).tolist():
        return "it is not resized to the size of what it multiplies"
    return None


def _keeps(made: Capture, weight: Capture) -> bool:
    """Whether a convolution gives every number back."""
    kernel = weight.const
    if kernel is None or kernel.shape != (made.attrs.get("group", 1), 1, 1, 1):
        return False
    moves = any(made.attrs.get("pads", ())) or set(made.attrs.get("strides", (1,))) != {1}
    return not moves and bool(np.all(kernel == 1))


def after(x: Capture, gate: Capture, made: Capture) -> Expr:
    assert made.node is not None
    return Expr(made.node.op_type, (x, gate))
