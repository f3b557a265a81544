"""Add residuals and normalize before a linear layer's result is squeezed to a sequence.

Why: between two layers computed as convolutions the axis put in front then stays; each Squeeze
and Unsqueeze is a kernel, if a short one: 1.01x on encoders of short sequences.
Equal: exactly the same numbers.
"""

from modelkit.rewrite import Capture, Expr, op

LEVEL = "all"
OPSET = 13
ORDER = 22  # behind linear_as_conv, which makes what it looks for


def _rows(image: Expr) -> Expr:
    # A view: where others read it too, nothing is computed twice.
    return op.Squeeze(image, Expr(name="axes")).shared().named("rows")


def summed(x: Expr, r: Expr) -> Expr:
    return op.Sum(_rows(x), r).named("total")


def added(x: Expr, r: Expr) -> Expr:
    return (_rows(x) + r).named("total")


def normalized(x: Expr, w: Expr, b: Expr) -> Expr:
    return op.LayerNormalization(_rows(x), w, b).named("norm")


before = (summed, added, normalized)


def when(axes: Capture, rows: Capture, r: Capture, norm: Capture) -> str | None:
    if rows.shape is None or len(rows.shape) not in (2, 3) or axes.const is None:
        return ""
    if axes.const.tolist() != list(range(4 - len(rows.shape))):
        return ""
    if norm.value is None:
        return None if r.shape == rows.shape else ""
    return None if norm.attrs.get("axis", -1) == -1 else ""


def after(
    x: Capture, axes: Capture, r: Capture, w: Capture, b: Capture, norm: Capture, total: Capture
) -> Expr:
    if total.node is None:
        return op.Squeeze(op.LayerNormalization(x, w, b, **norm.attrs), axes)
    return op.Squeeze(Expr(total.node.op_type, (x, op.Unsqueeze(r, axes))), axes)
