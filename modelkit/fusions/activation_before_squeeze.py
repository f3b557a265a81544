"""Compute what stands behind a convolution of sequences while it still is an image.

Why: between two such convolutions the activation then stays in ONNX Runtime's blocked layout.
Equal: exactly the same numbers.
"""

from collections.abc import Callable

import numpy as np

from modelkit.fusions.activation_as_image import TWO, computed, elementwise
from modelkit.fusions.conv1d_as_image import HEIGHT
from modelkit.rewrite import Capture, Expr, op

LEVEL = "all"
OPSET = 13
ORDER = 21  # behind conv1d_as_image, which makes what it looks for


def _sequence(image: Expr, name: str) -> Expr:
    # A view: where others read it too, nothing is computed twice.
    return op.Squeeze(image, HEIGHT).shared().named(name)


def _with_a_sequence(kind: str) -> Callable[[Expr, Expr], Expr]:
    """The image meets what never was one, as in a residual sum, or a constant, as a bias."""

    def of_two(x: Expr, y: Expr) -> Expr:
        return Expr(kind, (_sequence(x, "x_moved"), y)).named("made")

    return of_two


before = (*elementwise(_sequence), *(_with_a_sequence(kind) for kind in TWO))


def when(x: Capture, y: Capture, x_moved: Capture, y_moved: Capture) -> str | None:
    if y.value is None:
        return None
    like = x_moved if y_moved.value is None else x
    if y.const is not None and _fits(y.const, like):
        return None
    if like.shape is None or like.shape != y.shape:
        return "its operands are not known to have the same shape"
    return None


def after(x: Capture, y: Capture, y_moved: Capture, made: Capture) -> Expr:
    if y.value is None or y_moved.value is not None:
        return op.Squeeze(computed(made, x, y), HEIGHT)
    assert made.node is not None
    higher: Expr | np.ndarray = op.Unsqueeze(y, HEIGHT) if y.const is None else _image(y.const)
    image = Expr(made.node.op_type, (x, higher), made.attrs, made.node.domain)
    return op.Squeeze(image, HEIGHT)


def _fits(array: np.ndarray, sequence: Capture) -> bool:
    """Whether a constant makes ``sequence`` no larger."""
    if sequence.shape is None or array.ndim > len(sequence.shape):
        return False
    dims = sequence.shape[len(sequence.shape) - array.ndim :]
    return all(size in (1, dim) for size, dim in zip(array.shape, dims, strict=True))


def _image(array: np.ndarray) -> np.ndarray:
    """The same beside an image one pixel high."""
    return array if array.ndim < 2 else np.expand_dims(array, -2)
