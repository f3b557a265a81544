"""Scale and move what a Relu behind a Conv leaves within the Conv.

Why: two passes over the map less, and it stays in ONNX Runtime's blocked layout, where a limit
other than zero costs nothing: the learnable affine blocks of HGNetV2 (PP-OCRv5, D-FINE).
Equal: up to float rounding: s max(z, 0) + c is max(s z + c, c), or the least of both for s < 0.
"""

import numpy as np
import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, convolution, either, op

LEVEL = "basic"
OPSET = 11
ORDER = 5  # before the factor goes into the convolution behind it


def _moved(x: Expr, w: Expr, b: Expr, s: Expr, c: Expr) -> Expr:
    relu = op.Relu(convolution(x, w, b))
    return either(relu * s + c, relu + c)


def _scaled(x: Expr, w: Expr, b: Expr, s: Expr) -> Expr:
    return op.Relu(convolution(x, w, b)) * s


before = (_moved, _scaled)


def when(w: Capture, b: Capture, s: Capture, c: Capture) -> str | None:
    constants = [part for part in (s, c) if part.value is not None]
    if not all(part.is_constant for part in constants):
        return ""
    if w.dtype != ir.DataType.FLOAT or not w.is_constant or w.value is None:
        return "it is not float32 with a constant weight"
    if (b.value is not None and not b.is_constant) or len(w.value.uses()) > 1:
        return "its bias is no constant, or its weight is used elsewhere too"
    if any(_number(part, w) is None for part in constants):
        return "the factor or what is added is not one number for the map"
    return None


def _number(part: Capture, w: Capture) -> np.ndarray | None:
    """The finite number that ``part`` holds, if it adds no axes to the map."""
    value, rank = np.asarray(part.const), len(np.asarray(w.const).shape)
    fits = value.size == 1 and value.ndim <= rank and np.isfinite(value).all()
    return value.reshape(()).astype(np.float32) if fits else None


def after(x: Capture, w: Capture, b: Capture, s: Capture, c: Capture, conv: Capture) -> Expr:
    factor = np.float32(1) if s.value is None else _number(s, w)
    shift = None if c.value is None else _number(c, w)
    assert factor is not None
    weight = np.asarray(w.const) * factor
    bias = None if b.const is None else b.const * factor
    if shift is not None:
        bias = shift + (np.zeros(len(weight), np.float32) if bias is None else bias)
    made = op.Conv(x, weight, bias, **conv.attrs)
    if factor < 0:
        return op.Clip(made, None, np.zeros((), np.float32) if shift is None else shift)
    return op.Relu(made) if shift is None else op.Clip(made, shift)
