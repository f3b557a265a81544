"""Add what a gate makes of a map to the map by adding 1 to the gate.

Why: one product of the map's size in the place of two and a sum: the global response
normalization of ConvNeXt V2, x + w (x n) + b.
Equal: up to float rounding.
"""

from modelkit.rewrite import Capture, Expr, either


def before(x: Expr, n: Expr, w: Expr, b: Expr) -> Expr:
    gated = either((x * n) * w, x * (n * w))
    return either((gated + b) + x, gated + (x + b), gated + x)


def when(x: Capture, n: Capture, w: Capture, b: Capture) -> str | None:
    if not w.is_constant or (b.value is not None and not b.is_constant) or n.is_constant:
        return ""
    if x.shape is None or n.shape is None or len(n.shape) != len(x.shape):
        return "the rank of the map or its gate is not known"
    pairs = list(zip(n.shape, x.shape, strict=True))
    if any(dim not in (1, whole) for dim, whole in pairs):
        return "its gate is not known to fit the map"
    if all(dim == whole for dim, whole in pairs):
        return ""
    wide = w.aligned(len(n.shape))
    if wide is None or any(dim not in (1, own) for dim, own in zip(wide, n.shape, strict=True)):
        return "its factor is wider than the gate"
    return None


def after(x: Capture, n: Capture, w: Capture, b: Capture) -> Expr:
    gated = x * (n * w + 1.0)
    return gated if b.value is None else gated + b
