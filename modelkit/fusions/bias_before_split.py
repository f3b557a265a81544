"""Add the bias of a linear layer before its columns are split into heads.

Why: next to its MatMul a bias costs nothing: Gemm and 1x1 convolutions take it along.  Keras' heads
have biases of two axes, added behind the Reshape.
Equal: exactly the same numbers.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


def before(x: Expr, w: Expr, heads: Expr, b: Expr) -> Expr:
    product = op.MatMul(x, w).named("product")
    return op.Reshape(product, heads).named("split") + b


def when(w: Capture, b: Capture, product: Capture, split: Capture) -> str | None:
    if not b.is_constant or not w.is_constant or split.shape is None or product.shape is None:
        return ""
    columns, shape = product.shape[-1], b.aligned(len(split.shape))
    while shape and shape[0] == 1:
        shape = shape[1:]
    if not shape or len(shape) < 2 or np.asarray(b.const).size != columns:
        return ""
    return None if split.shape[-len(shape) :] == shape else ""


def after(x: Capture, w: Capture, heads: Capture, b: Capture, split: Capture) -> Expr:
    whole = op.MatMul(x, w) + np.asarray(b.const).reshape(-1)
    return op.Reshape(whole, heads, **split.attrs)
