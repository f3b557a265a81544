"""Fuse a bounded straight line, clip(x + 3, 0, 6) / 6, into HardSigmoid.

Why: one kernel takes the place of three, and a convolution before it takes it over.
Equal: up to float rounding.
Where the 3 already lies in a convolution's bias, clip(x, 0, 6) / 6 is the line through the origin.
"""

from modelkit.rewrite import Capture, Expr, either, op

OPSET = 6
SLOPE, MIDDLE = 1 / 6, 0.5


def _line(x: Expr) -> Expr:
    return either((x + 3.0).named("shifted"), x)


def _bounded(x: Expr) -> Expr:
    return op.Clip(_line(x), 0.0, 6.0)


def _bounded_by_attributes(x: Expr) -> Expr:
    return op.Clip(_line(x)).named("clip")


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


def after(x: Capture, shifted: Capture) -> Expr:
    return op.HardSigmoid(x, alpha=SLOPE, beta=0.0 if shifted.value is None else MIDDLE)
