"""Turn a linear layer that was written as a 1x1 convolution back into MatMul + Add.

Why: convolutions are not quantized dynamically (5-8x slower), linear layers gain most by it.
Equal: up to float rounding.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op


def with_bias(x: Expr, axis: Expr, w: Expr, b: Expr, back: Expr) -> Expr:
    image = op.Transpose(op.Unsqueeze(x, axis).shared(), perm=[0, 3, 1, 2]).shared()
    made = op.Transpose(op.Conv(image, w, b).named("conv"), perm=[0, 2, 3, 1])
    return op.Squeeze(made, back)


def without_bias(x: Expr, axis: Expr, w: Expr, back: Expr) -> Expr:
    image = op.Transpose(op.Unsqueeze(x, axis).shared(), perm=[0, 3, 1, 2]).shared()
    made = op.Transpose(op.Conv(image, w).named("conv"), perm=[0, 2, 3, 1])
    return op.Squeeze(made, back)


before = (with_bias, without_bias)


def when(axis: Capture, back: Capture, w: Capture, conv: Capture) -> str | None:
    for part in (axis, back):
        if part.const is None or part.const.reshape(-1).tolist() != [1]:
            return "the axis added is not the second"
    if not w.is_constant or w.shape is None or tuple(w.shape[2:]) != (1, 1):
        return "it is no 1x1 convolution with constant weights"
    plain = {"group": 1, "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    for name, usual in plain.items():
        value = conv.attrs.get(name, usual)
        if (list(value) if isinstance(value, tuple | list) else value) != usual:
            return f"its {name} are not plain"
    return None


def after(x: Capture, w: Capture, b: Capture) -> Expr:
    assert w.const is not None
    product = op.MatMul(x, np.ascontiguousarray(w.const[:, :, 0, 0].T))
    return product if b.value is None else product + b
