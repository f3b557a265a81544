"""Fuse a residual sum and the RMS normalization behind it into SkipSimplifiedLayerNormalization.

Why: on GPUs one pass over the activations takes the place of two.
Equal: up to float rounding.
"""

from modelkit.fusions.skip_layer_normalization import MICROSOFT, epsilon, unlike
from modelkit.rewrite import Capture, Expr, op

OPSET = 23
LEVEL = "all"
ORDER = 30
_SUM = 3


def before(x: Expr, residual: Expr, scale: Expr) -> tuple[Expr, Expr]:
    total = x + residual
    return op.RMSNormalization(total, scale).named("norm"), total


def when(x: Capture, residual: Capture, norm: Capture) -> str | None:
    return unlike(x, residual, norm)


def after(x: Capture, residual: Capture, scale: Capture, norm: Capture) -> tuple[Expr, Expr]:
    made = op.SkipSimplifiedLayerNormalization(
        x, residual, scale, _domain=MICROSOFT, epsilon=epsilon(norm)
    )
    outputs = op.several(_SUM + 1, made)
    return outputs[0], outputs[_SUM]
