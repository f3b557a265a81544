"""Compute an activation on rows again that was computed on the image of a linear layer.

Why: between two linear layers turned back it would keep the transposes that cancel otherwise.
Equal: exactly the same numbers.
"""

from collections.abc import Callable

from modelkit.rewrite import Capture, Expr, either, op

_IMAGE = [0, 3, 1, 2]
_MICROSOFT = "com.microsoft"
_ONE = (("Gelu", ""), ("Gelu", _MICROSOFT), ("QuickGelu", _MICROSOFT), ("Relu", ""))
_TWO = ("Add", "Mul")


def _image(x: Expr, name: str) -> Expr:
    rows = op.Unsqueeze(x, Expr(name="axis")).named(name)
    return op.Transpose(either(rows, x), perm=_IMAGE)


def _one(kind: str, domain: str) -> Callable[[Expr], Expr]:
    def on_one(x: Expr) -> Expr:
        return Expr(kind, (_image(x, "x_image"),), domain=domain).named("made")

    return on_one


def _two(kind: str) -> Callable[[Expr, Expr], Expr]:
    def on_two(x: Expr, y: Expr) -> Expr:
        return Expr(kind, (_image(x, "x_image"), _image(y, "y_image"))).named("made")

    return on_two


before = (*(_one(*kind) for kind in _ONE), *(_two(kind) for kind in _TWO))


def when(x: Capture, y: Capture, x_image: Capture, y_image: Capture) -> str | None:
    if y.value is not None and (x_image.value is None) != (y_image.value is None):
        return "its operands have other layouts"
    if y.value is not None and (x.shape is None or x.shape != y.shape):
        return "its operands are not known to have the same shape"
    return None


def after(x: Capture, y: Capture, axis: Capture, x_image: Capture, made: Capture) -> Expr:
    assert made.node is not None
    operands = (x,) if y.value is None else (x, y)
    rows = Expr(made.node.op_type, operands, made.attrs, made.node.domain)
    return op.Transpose(rows if x_image.value is None else op.Unsqueeze(rows, axis), perm=_IMAGE)
