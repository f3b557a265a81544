"""Compute what stands behind a linear layer before its result leaves the image layout.

Why: between two layers computed as convolutions the activation then stays in ONNX Runtime's
blocked layout; else its widest tensors would be copied out of it and in again.
Equal: exactly the same numbers, elementwise operators do not see the layout.
"""

from collections.abc import Callable

from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "all"
ORDER = 21  # behind linear_as_conv, which makes what it looks for

_MICROSOFT = "com.microsoft"
ONE = (
    ("Gelu", ""),
    ("Gelu", _MICROSOFT),
    ("QuickGelu", _MICROSOFT),
    ("Relu", ""),
    ("LeakyRelu", ""),
    ("Tanh", ""),
    ("Sigmoid", ""),
    ("HardSwish", ""),
    ("HardSigmoid", ""),
)
TWO = ("Add", "Mul")


Moved = Callable[[Expr, str], Expr]
"""A value in another layout, and the name of what the move makes when it also changes the rank."""


def elementwise(moved: Moved) -> tuple[Callable[..., Expr], ...]:
    """The spellings of every activation of one or two operands that were ``moved`` before."""

    def one(kind: str, domain: str) -> Callable[[Expr], Expr]:
        def of_one(x: Expr) -> Expr:
            return Expr(kind, (moved(x, "x_moved"),), domain=domain).named("made")

        return of_one

    def two(kind: str) -> Callable[[Expr, Expr], Expr]:
        def of_two(x: Expr, y: Expr) -> Expr:
            return Expr(kind, (moved(x, "x_moved"), moved(y, "y_moved"))).named("made")

        return of_two

    return (*(one(*kind) for kind in ONE), *(two(kind) for kind in TWO))


def computed(made: Capture, x: Expr, y: Capture | None = None) -> Expr:
    """The operator that made ``made``, on operands before they are moved."""
    assert made.node is not None
    operands = (x,) if y is None or y.value is None else (x, y)
    return Expr(made.node.op_type, operands, made.attrs, made.node.domain)


def _rows(image: Expr, name: str) -> Expr:
    moved = op.Transpose(image, perm=[0, 2, 3, 1])
    return either(op.Squeeze(moved, Expr(name=f"{name}_axes")).named(name), moved)


before = elementwise(_rows)


def when(
    x: Capture, y: Capture, x_moved: Capture, y_moved: Capture,
    x_moved_axes: Capture, y_moved_axes: Capture,
) -> str | None:  # fmt: skip
    for moved, axes in ((x_moved, x_moved_axes), (y_moved, y_moved_axes)):
        if moved.value is not None and axes.const is None:
            return ""
    if y.value is None:
        return None
    if _axes(x_moved_axes) != _axes(y_moved_axes) or x.shape is None or x.shape != y.shape:
        return "its operands are not known to have the same layout and shape"
    return None


def _axes(axes: Capture) -> list[int]:
    return [] if axes.const is None else axes.const.reshape(-1).tolist()


def after(x: Capture, y: Capture, x_moved: Capture, x_moved_axes: Capture, made: Capture) -> Expr:
    moved = op.Transpose(computed(made, x, y), perm=[0, 2, 3, 1])
    return moved if x_moved.value is None else op.Squeeze(moved, x_moved_axes)
