"""Fuse a residual sum, its bias and the normalization behind them into SkipLayerNormalization.

Why: on GPUs one pass over the activations takes the place of two or three.  On CPUs its kernel is
not vectorized and loses to the parts, see ``residual_sum``.
Equal: up to float rounding.
"""

import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, op

LEVEL = "all"
ORDER = 30
MICROSOFT = "com.microsoft"
_SUM = 3  # the output that holds the sum itself


def with_bias(x: Expr, bias: Expr, residual: Expr, scale: Expr, shift: Expr) -> tuple[Expr, Expr]:
    total = (x + bias) + residual.named("residual")
    return op.LayerNormalization(total, scale, shift).named("norm"), total


def plain(x: Expr, residual: Expr, scale: Expr, shift: Expr) -> tuple[Expr, Expr]:
    total = x + residual
    return op.LayerNormalization(total, scale, shift).named("norm"), total


before = (with_bias, plain)


def when(
    x: Capture, bias: Capture, residual: Capture, scale: Capture, shift: Capture, norm: Capture
) -> str | None:
    if bias.value is not None and not (bias.is_constant and len(bias.shape or (0, 0)) == 1):
        return "neither operand is a constant vector"
    if shift.value is None:
        return "it has no shift"
    return unlike(x, residual, norm)


def unlike(x: Capture, residual: Capture, norm: Capture) -> str | None:
    """Why a sum cannot go into the normalization behind it."""
    if x.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return "it is neither float32 nor float16"
    if x.shape is None or x.shape != residual.shape or None in x.shape:
        return "the operands are not known to have the same shape"
    if len(x.shape) != 3:
        return "its input does not have three axes"
    if norm.attrs.get("axis", -1) not in (-1, 2):
        return "it is not over the last axis"
    if norm.attrs.get("stash_type", 1) != 1:
        return "it does not compute in float"
    return None


def after(
    x: Capture, bias: Capture, residual: Capture, scale: Capture, shift: Capture, norm: Capture
) -> tuple[Expr, Expr]:
    made = op.SkipLayerNormalization(
        x, residual, scale, shift, bias, _domain=MICROSOFT, epsilon=epsilon(norm)
    )
    outputs = op.several(_SUM + 1, made)
    return outputs[0], outputs[_SUM]


def epsilon(norm: Capture) -> float:
    """What is added to the variance; the default of ONNX where nothing is said."""
    return float(norm.attrs.get("epsilon", 1e-5))
