"""Compute a linear layer of a matrix with many weights as a 1x1 convolution.

Why: as for ``linear_as_conv``, where the weights come from memory: 1.2-1.4x on layers of 1024
channels or more, as behind a flattened map or in an MLP (1 to 64 rows, 1 thread, AVX-512).  Layers
whose weights stay in the cache are no faster (0.9-1.1x).
Equal: up to float rounding.
"""

import onnx_ir as ir

from modelkit.fusions.gemm_between_reshapes import is_product, weight_of
from modelkit.fusions.linear_as_conv import BLOCK, EMPTY, as_image, as_rows, convolved, may_be_empty
from modelkit.rewrite import Capture, Expr, op

LEVEL = "all"
ORDER = 20  # when all constants are in the weights

_FEW = 1 << 20  # weights; below, they stay in the cache
_NARROW = 256  # channels; 192 were 0.86-1.05x, at two rows and more below 1
_IN_FRONT = (0, 1)


def with_bias(x: Expr, w: Expr, b: Expr) -> Expr:
    return op.Gemm(x, w, b).named("gemm")


def plain(x: Expr, w: Expr) -> Expr:
    return op.Gemm(x, w).named("gemm")


def multiplied(x: Expr, w: Expr) -> Expr:
    return op.MatMul(x, w)


before = (with_bias, plain, multiplied)


def when(x: Capture, w: Capture, b: Capture, gemm: Capture) -> str | None:
    if x.shape is None or len(x.shape) != 2 or x.dtype != ir.DataType.FLOAT:
        return "" if gemm.value is None else "its input is not known to be a float32 matrix"
    if w.const is None or w.const.ndim != 2:
        return "its weight is not a constant matrix"
    if not is_product(gemm, b):
        return "it scales or transposes"
    weight = weight_of(gemm, w)
    if b.value is not None and (not b.is_constant or list(b.shape or ()) != [weight.shape[1]]):
        return "its bias is not a constant vector"
    if weight.size < _FEW or min(weight.shape) < _NARROW:
        return "its weights are so few that they stay in the cache, or it is narrow"
    if weight.shape[0] % BLOCK:
        return f"its input is no multiple of {BLOCK} wide"
    return EMPTY if may_be_empty(x) else None


def after(x: Capture, w: Capture, b: Capture, gemm: Capture) -> Expr:
    return as_rows(convolved(as_image(x, _IN_FRONT), weight_of(gemm, w), b), _IN_FRONT)
