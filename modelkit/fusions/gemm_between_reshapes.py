"""Multiply by a matrix without flattening the leading axes first.

Why: MatMul takes any number of leading axes; two kernels less, and Gemm on flattened rows is no
faster than MatMul and Add (0.86-1.0x on CPU).
Equal: up to float rounding.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


def before(x: Expr, w: Expr, b: Expr, flat: Expr, shape: Expr) -> Expr:
    product = op.Gemm(op.Reshape(x, flat), w, b).named("gemm")
    return op.Reshape(product, shape).named("made")


def when(x: Capture, w: Capture, b: Capture, gemm: Capture, made: Capture) -> str | None:
    attributes = gemm.attrs
    if attributes.get("transA", 0) or {attributes.get(x, 1.0) for x in ("alpha", "beta")} != {1.0}:
        return "it scales or transposes"
    if not w.is_constant or w.shape is None or not b.is_constant or len(b.shape or (0, 0)) != 1:
        return "its weight or bias is not a constant"
    deep, wide = w.shape[::-1] if attributes.get("transB", 0) else w.shape
    if x.shape is None or made.shape is None or len(x.shape) < 3 or x.shape[-1] != deep:
        return "it flattens more than the leading axes"
    if None in x.shape or made.shape != (*x.shape[:-1], wide):
        return "its result does not get the axes of its input back"
    return None


def after(x: Capture, w: Capture, b: Capture, gemm: Capture) -> Expr:
    weight: Expr | np.ndarray = w
    if gemm.attrs.get("transB", 0):
        weight = np.ascontiguousarray(np.asarray(w.const).T)
    return op.MatMul(x, weight) + b
