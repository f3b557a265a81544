"""Turn a linear layer that was written as a 1x1 convolution back into MatMul + Add.

Why: convolutions are not quantized dynamically (5-8x slower), linear layers gain most by it.
Equal: up to float rounding.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, either, op

_IMAGE = [0, 3, 1, 2]


def _image(x: Expr, axis: Expr) -> Expr:
    rows = op.Unsqueeze(x, axis).shared().named("rows")
    return op.Transpose(either(rows, x), perm=_IMAGE).shared()


def with_bias(x: Expr, axis: Expr, w: Expr, b: Expr) -> Expr:
    return op.Conv(_image(x, axis), w, b).named("conv")


def without_bias(x: Expr, axis: Expr, w: Expr) -> Expr:
    return op.Conv(_image(x, axis), w).named("conv")


before = (with_bias, without_bias)


def when(x: Capture, axis: Capture, rows: Capture, w: Capture, conv: Capture) -> str | None:
    if rows.value is not None:
        added = [] if axis.const is None else axis.const.reshape(-1).tolist()
        if added not in ([0], [1], [0, 1]):
            return "the axes added are not before the rows"
        if x.shape is None or len(x.shape) != 4 - len(added):
            return "its input is not known to have three axes, or two"
    elif x.node is not None and x.node.op_type == "Unsqueeze":
        return "its input has fewer axes"
    return is_layer(w, conv)


def is_layer(w: Capture, conv: Capture) -> str | None:
    """Why the convolution ``conv`` is no linear layer of each pixel; None: it is one."""
    if not w.is_constant or w.shape is None or tuple(w.shape[2:]) != (1, 1):
        return "it is no 1x1 convolution with constant weights"
    plain = {"group": 1, "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    for name, usual in plain.items():
        value = conv.attrs.get(name, usual)
        if (list(value) if isinstance(value, tuple | list) else value) != usual:
            return f"its {name} are not plain"
    return None


def after(x: Capture, axis: Capture, rows: Capture, w: Capture, b: Capture) -> Expr:
    made = layer(x, w, b)
    return op.Transpose(made if rows.value is None else op.Unsqueeze(made, axis), perm=_IMAGE)


def layer(rows: Expr, w: Capture, b: Capture) -> Expr:
    """What the convolution makes of each pixel, of ``rows`` [..., channels]."""
    assert w.const is not None
    product = op.MatMul(rows, np.ascontiguousarray(w.const[:, :, 0, 0].T))
    return product if b.value is None else product + b
