"""Write bias and residual before a normalization as one Sum.

Why: ONNX Runtime turns Add + LayerNormalization into SkipLayerNormalization, whose CPU kernel is
not vectorized and 3.3-5.5x slower than the two; it does not look behind Sum.
Equal: up to float rounding.
"""

from modelkit.rewrite import Capture, Expr, op

LEVEL = "all"
ORDER = 30  # a bias that went into a convolution is not left for the sum


def with_bias(x: Expr, bias: Expr, residual: Expr, scale: Expr, shift: Expr) -> tuple[Expr, Expr]:
    total = (x + bias) + residual.named("residual")
    return op.LayerNormalization(total, scale, shift).named("norm"), total


def plain(x: Expr, residual: Expr, scale: Expr, shift: Expr) -> tuple[Expr, Expr]:
    total = x + residual
    return op.LayerNormalization(total, scale, shift).named("norm"), total


before = (with_bias, plain)


def when(x: Capture, bias: Capture, residual: Capture) -> str | None:
    if bias.value is not None and not (bias.is_constant and len(bias.shape or (0, 0)) == 1):
        return "neither operand is a constant vector"
    if x.shape is None or residual.shape is None or len(x.shape) != len(residual.shape):
        return "the operands are not known to have the same rank"
    return None


def after(
    x: Capture, bias: Capture, residual: Capture, scale: Capture, shift: Capture, norm: Capture
) -> tuple[Expr, Expr]:
    total = op.Sum(*([x, residual] if bias.value is None else [x, bias, residual]))
    return op.LayerNormalization(total, scale, shift, **norm.attrs), total
