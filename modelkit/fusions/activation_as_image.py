"""Compute what stands behind a linear layer before its result leaves the image layout.

Why: between two layers computed as convolutions the activation then stays in ONNX Runtime's
blocked layout; else its widest tensors would be copied out of it and in again.
Equal: exactly the same numbers, elementwise operators do not see the layout.
"""

from collections.abc import Callable

import numpy as np

from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "all"
ORDER = 21  # behind linear_as_conv, which makes what it looks for

_BATCH = np.array([0], np.int64)
_MICROSOFT = "com.microsoft"
_ONE = (("Gelu", ""), ("Gelu", _MICROSOFT), ("QuickGelu", _MICROSOFT), ("Relu", ""))
_TWO = ("Add", "Mul")


def _rows(image: Expr, name: str) -> Expr:
    moved = op.Transpose(image, perm=[0, 2, 3, 1])
    return either(op.Squeeze(moved, _BATCH).named(name), moved)


def _one(kind: str, domain: str) -> Callable[[Expr], Expr]:
    def behind_one(x: Expr) -> Expr:
        return Expr(kind, (_rows(x, "x_rows"),), domain=domain).named("made")

    return behind_one


def _two(kind: str) -> Callable[[Expr, Expr], Expr]:
    def behind_two(x: Expr, y: Expr) -> Expr:
        return Expr(kind, (_rows(x, "x_rows"), _rows(y, "y_rows"))).named("made")

    return behind_two


before = (*(_one(*kind) for kind in _ONE), *(_two(kind) for kind in _TWO))


def when(x: Capture, y: Capture, x_rows: Capture, y_rows: Capture) -> str | None:
    if y.value is None:
        return None
    if (x_rows.value is None) != (y_rows.value is None) or x.shape is None or x.shape != y.shape:
        return "its operands are not known to have the same layout and shape"
    return None


def after(x: Capture, y: Capture, x_rows: Capture, made: Capture) -> Expr:
    assert made.node is not None
    operands = (x,) if y.value is None else (x, y)
    image = Expr(made.node.op_type, operands, made.attrs, made.node.domain)
    moved = op.Transpose(image, perm=[0, 2, 3, 1])
    return moved if x_rows.value is None else op.Squeeze(moved, _BATCH)
