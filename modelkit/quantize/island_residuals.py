"""Compute on rows again what was computed between images of linear layers.

Why: the axes that were put in front vanish with the images; else each is a kernel more.
Equal: exactly the same numbers.
"""

from modelkit.fusions.activation_as_image import computed, elementwise
from modelkit.rewrite import Capture, Expr, op


def _image(x: Expr, name: str) -> Expr:
    return op.Unsqueeze(x, Expr(name=f"{name}_axis")).shared().named(name)


def summed(x: Expr, y: Expr) -> Expr:
    return op.Sum(_image(x, "x_moved"), _image(y, "y_moved")).named("made")


def normalized(x: Expr, w: Expr, v: Expr) -> Expr:
    return op.LayerNormalization(_image(x, "x_moved"), w, v).named("norm")


def multiplied(x: Expr, w: Expr) -> Expr:
    return op.MatMul(_image(x, "x_moved"), w).named("product")


def biased(x: Expr, w: Expr) -> Expr:
    return (_image(x, "x_moved") + w).named("total")


before = (*elementwise(_image), summed, normalized, multiplied, biased)


def when(
    w: Capture, norm: Capture, product: Capture,
    x_moved: Capture, y_moved: Capture, x_moved_axis: Capture, y_moved_axis: Capture,
) -> str | None:  # fmt: skip
    if not all(_is_first(axis) for axis in (x_moved_axis, y_moved_axis) if axis.value is not None):
        return "the axis added is not in front"
    if norm.value is not None:
        return None if norm.attrs.get("axis", -1) == -1 else "it normalizes other axes"
    if x_moved.shape is None or len(x_moved.shape) < 3:
        return "its input is not known to have rows"
    if w.value is not None:
        rank = 1 if product.value is None else 2
        return None if w.shape is not None and len(w.shape) == rank else "it is no linear layer"
    other = y_moved.shape
    if y_moved.value is not None and (other is None or len(x_moved.shape) != len(other)):
        return "its operands are not known to have as many axes"
    return None


def _is_first(axis: Capture) -> bool:
    return axis.const is not None and axis.const.reshape(-1).tolist() in ([0], [0, 1])


def after(
    x: Capture, y: Capture, w: Capture, v: Capture, x_moved_axis: Capture,
    made: Capture, norm: Capture, product: Capture, total: Capture,
) -> Expr:  # fmt: skip
    if norm.value is not None:
        rows = op.LayerNormalization(x, w, v, **norm.attrs)
    elif product.value is not None:
        rows = op.MatMul(x, w)
    else:
        rows = x + w if total.value is not None else computed(made, x, y)
    return op.Unsqueeze(rows, x_moved_axis)
