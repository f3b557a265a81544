"""Fuse a bounded straight line, clip(x + 3, 0, 6) / 6, into HardSigmoid.

Why: one kernel takes the place of three.
Equal: up to float rounding.
"""

from modelkit.rewrite import Capture, Expr, op

OPSET = 6
SLOPE, MIDDLE = 1 / 6, 0.5


def _bounded(x: Expr) -> Expr:
    return op.Clip(x + 3.0, 0.0, 6.0)


def _bounded_by_attributes(x: Expr) -> Expr:
    return op.Clip(x + 3.0).named("clip")


def divided(x: Expr) -> Expr:
    return _bounded(x) / 6.0


def scaled(x: Expr) -> Expr:
    return _bounded(x) * (1 / 6)


def divided_old(x: Expr) -> Expr:
    return _bounded_by_attributes(x) / 6.0


def scaled_old(x: Expr) -> Expr:
    return _bounded_by_attributes(x) * (1 / 6)


before = (divided, scaled, divided_old, scaled_old)


def when(clip: Capture) -> str | None:
    if clip.value is not None and (clip.attrs.get("min"), clip.attrs.get("max")) != (0.0, 6.0):
        return "it is not bounded by 0 and 6"
    return None


def after(x: Capture) -> Expr:
    return op.HardSigmoid(x, alpha=SLOPE, beta=MIDDLE)
