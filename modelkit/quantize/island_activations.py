"""Compute an activation on rows again that was computed on the image of a linear layer.

Why: between two linear layers turned back it would keep the transposes that cancel otherwise.
Equal: exactly the same numbers.
"""

from modelkit.fusions.activation_as_image import computed, elementwise, when
from modelkit.rewrite import Capture, Expr, either, op

_IMAGE = [0, 3, 1, 2]


def _image(x: Expr, name: str) -> Expr:
    rows = op.Unsqueeze(x, Expr(name="axis")).named(name)
    return op.Transpose(either(rows, x), perm=_IMAGE)


before = elementwise(_image)


def after(x: Capture, y: Capture, axis: Capture, x_moved: Capture, made: Capture) -> Expr:
    rows = computed(made, x, y)
    return op.Transpose(rows if x_moved.value is None else op.Unsqueeze(rows, axis), perm=_IMAGE)


__all__ = ["after", "before", "when"]
