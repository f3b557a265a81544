"""Let a reduction keep the axes that a Reshape or Unsqueeze behind it gives back.

Why: one operator less, and what looks for a mean over a feature map knows it by its axes.
Equal: exactly.
"""

import numpy as np

from modelkit.fusions.reduce_before_transpose import axes_of, over, reduction
from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"
ORDER = -2  # behind reduce_before_transpose, before squeeze_excite


def reshaped(x: Expr, axes: Expr, target: Expr) -> Expr:
    return op.Reshape(reduction(x, axes), target).named("made")


def unsqueezed(x: Expr, axes: Expr, back: Expr) -> Expr:
    return op.Unsqueeze(reduction(x, axes), back)


before = (reshaped, unsqueezed)


def when(
    x: Capture, axes: Capture, target: Capture, back: Capture, reduced: Capture, made: Capture
) -> str | None:
    if x.shape is None or reduced.attrs.get("keepdims", 1):
        return ""
    gone = axes_of(reduced, axes, len(x.shape))
    if gone is None:
        return ""
    if target.value is None:
        if back.const is None:
            return ""
        return None if sorted(back.const.reshape(-1) % len(x.shape)) == gone else ""
    if target.const is None or made.attrs.get("allowzero", 0):
        return ""
    return None if _gives_back(target.const, x, gone) else ""


def _gives_back(target: np.ndarray, x: Capture, gone: list[int]) -> bool:
    """Whether ``target`` is the shape of ``x`` with axes of one in the place of those ``gone``."""
    assert x.shape is not None
    if len(target) != len(x.shape):
        return False
    inferred = 0
    for axis, (size, dim) in enumerate(zip(target.tolist(), x.shape, strict=True)):
        if axis in gone:
            if size != 1:
                return False
        elif size == -1:
            inferred += 1
        elif not (size == dim or (size == 0 and axis < gone[0])):
            return False
    return inferred <= 1


def after(x: Capture, axes: Capture, reduced: Capture) -> Expr:
    assert x.shape is not None
    gone = axes_of(reduced, axes, len(x.shape))
    assert gone is not None
    return over(reduced, axes, x, gone, 1)
