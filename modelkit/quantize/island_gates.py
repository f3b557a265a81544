"""Multiply by a gate as it is, which was written at the size of the feature map for float kernels.

Why: no integer kernel resizes, so the chain of integers breaks at every squeeze-and-excite block.
Equal: exactly the same numbers, each times the same.
"""

from modelkit.rewrite import Capture, Expr, op


def before(x: Expr, gate: Expr, scales: Expr) -> Expr:
    return x * op.Resize(gate, None, scales).named("resize")


def when(x: Capture, gate: Capture, scales: Capture, resize: Capture) -> str | None:
    if resize.attrs.get("mode", "nearest") != "nearest":
        return "it interpolates"
    if gate.shape is None or len(gate.shape) != 4 or tuple(gate.shape[2:]) != (1, 1):
        return "what is resized is not one number a channel"
    if x.shape is None or scales.const is None:
        return "its size is not fixed"
    if [1, 1, *x.shape[2:]] != scales.const.reshape(-1).tolist():
        return "it is not resized to the size of what it multiplies"
    return None


def after(x: Capture, gate: Capture) -> Expr:
    return x * gate
