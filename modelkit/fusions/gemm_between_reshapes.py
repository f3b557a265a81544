"""Multiply by a matrix without flattening the leading axes first.

Why: MatMul takes any number of leading axes; two kernels less, and Gemm on flattened rows is no
faster than MatMul and Add (0.86-1.0x on CPU).
Equal: up to float rounding.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "basic"


def gemm(x: Expr, w: Expr, b: Expr, flat: Expr, shape: Expr) -> Expr:
    rows = op.Reshape(x, flat).named("rows").shared()
    product = either(op.Gemm(rows, w, b).named("gemm"), op.Gemm(rows, w).named("gemm"))
    return op.Reshape(product, shape).named("made")


def matmul(x: Expr, w: Expr, flat: Expr, shape: Expr) -> Expr:
    rows = op.Reshape(x, flat).named("rows").shared()
    return op.Reshape(op.MatMul(rows, w), shape).named("made")


before = (gemm, matmul)


def when(
    x: Capture,
    w: Capture,
    b: Capture,
    gemm: Capture,
    shape: Capture,
    rows: Capture,
    made: Capture,
) -> str | None:
    if rows.shape is None or len(rows.shape) != 2:
        return ""
    if not is_product(gemm, b):
        return "it scales or transposes"
    if not w.is_constant or w.shape is None or len(w.shape) != 2:
        return "its weight or bias is not a constant"
    if b.value is not None and (not b.is_constant or len(b.shape or (0, 0)) != 1):
        return "its weight or bias is not a constant"
    deep, _ = weight_of(gemm, w).shape
    if x.shape is None or made.shape is None or _leading(x, deep) < 2:
        return "it flattens more than the leading axes"
    if _is_whole(x, w, gemm, made) or shape.const is None or 0 not in shape.const:
        return None  # other axes are of numbers that do not look at those of the rows
    return "its result does not get the axes of its input back"


def is_product(gemm: Capture, bias: Capture) -> bool:
    """Whether a Gemm, or MatMul, computes x @ w + bias, ``w`` maybe transposed and nothing else."""
    factors = ["alpha"] if bias.value is None else ["alpha", "beta"]
    scales = any(gemm.attrs.get(each, 1.0) != 1.0 for each in factors)
    return not scales and not gemm.attrs.get("transA", 0)


def weight_of(gemm: Capture, w: Capture) -> np.ndarray:
    """The constant weight [in, out] of a Gemm or MatMul; a view."""
    matrix = np.asarray(w.const)
    return matrix.T if gemm.attrs.get("transB", 0) else matrix


def _leading(x: Capture, deep: int) -> int:
    """How many axes of ``x`` stand before those that together are a row; 0 if none are one.

    Axes of one before the row count as part of it.
    """
    assert x.shape is not None
    if not deep:
        return 0
    row = 1
    for place in reversed(range(len(x.shape))):
        dim = x.shape[place]
        row *= dim if isinstance(dim, int) else 0
        if row == deep and x.shape[place - 1] != 1:
            return place
        if not 0 < row <= deep:
            break
    return 0


def _is_whole(x: Capture, w: Capture, gemm: Capture, made: Capture) -> bool:
    """Whether the result has the axes of ``x``, of which only the last differs."""
    deep, wide = weight_of(gemm, w).shape
    assert x.shape is not None
    return x.shape[-1] == deep and None not in x.shape and made.shape == (*x.shape[:-1], wide)


def after(x: Capture, w: Capture, b: Capture, gemm: Capture, shape: Capture, made: Capture) -> Expr:
    assert x.shape is not None
    deep, _ = weight_of(gemm, w).shape
    weight: Expr | np.ndarray = w
    if gemm.attrs.get("transB", 0):
        weight = np.ascontiguousarray(weight_of(gemm, w))
    leading, is_whole = _leading(x, deep), _is_whole(x, w, gemm, made)
    rows: Expr = x
    if leading < len(x.shape) - 1 and not is_whole:
        rows = op.Reshape(x, np.array([0] * leading + [deep], np.int64))
    product = op.MatMul(rows, weight)
    whole = product if b.value is None else product + b
    return whole if is_whole else op.Reshape(whole, shape, **made.attrs)
