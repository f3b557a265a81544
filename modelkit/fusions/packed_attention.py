"""Fuse Attention with the three projections before it into one contrib Attention.

Why: on GPUs one wide product takes the place of three, and the packed layout feeds flash kernels.
On CPUs merging the projections loses.
Equal: up to float rounding.
"""

import numpy as np

from modelkit.fusions.multi_head_attention import attributes, bias_of, unfit
from modelkit.fusions.skip_layer_normalization import MICROSOFT
from modelkit.rewrite import Capture, Expr, Operand, either, op

OPSET = 23
LEVEL = "all"
ORDER = 30


def _projected(x: Expr, weight: Expr, bias: Expr, name: str) -> Expr:
    product = op.MatMul(x, weight)
    return either(product + bias, product).named(name)


def masked(
    x: Expr, wq: Expr, wk: Expr, wv: Expr, bq: Expr, bk: Expr, bv: Expr, mask: Operand
) -> Expr:
    parts = ((wq, bq, "q"), (wk, bk, "k"), (wv, bv, "v"))
    heads = (_projected(x, weight, bias, name) for weight, bias, name in parts)
    return op.Attention(*heads, mask).named("made")


def unmasked(x: Expr, wq: Expr, wk: Expr, wv: Expr, bq: Expr, bk: Expr, bv: Expr) -> Expr:
    return masked(x, wq, wk, wv, bq, bk, bv, None)


before = (masked, unmasked)


def when(
    x: Capture,
    wq: Capture,
    wk: Capture,
    wv: Capture,
    bq: Capture,
    bk: Capture,
    bv: Capture,
    mask: Capture,
    made: Capture,
) -> str | None:
    weights, biases = (wq, wk, wv), (bq, bk, bv)
    for weight in weights:
        if not weight.is_constant or weight.shape is None or len(weight.shape) != 2:
            return "a projection is not a constant matrix"
        if weight.shape != wq.shape or weight.dtype != wq.dtype:
            return "its projections are not of one size"
    for bias in biases:
        if bias.value is not None and not (bias.is_constant and bias.shape == (wq.shape or ())[1:]):
            return "a bias is not a constant vector"
    if x.shape is None or len(x.shape) != 3 or None in x.shape:
        return "its input is not known to have three axes"
    return unfit(x, x, mask, made)


def after(
    x: Capture,
    wq: Capture,
    wk: Capture,
    wv: Capture,
    bq: Capture,
    bk: Capture,
    bv: Capture,
    mask: Capture,
    made: Capture,
) -> Expr:
    weights = [weight.const for weight in (wq, wk, wv)]
    first = weights[0]
    assert first is not None
    nothing = np.zeros(first.shape[1], first.dtype)
    biases = [nothing if bias.const is None else bias.const for bias in (bq, bk, bv)]
    return op.Attention(
        x,
        np.concatenate([weight for weight in weights if weight is not None], axis=1),
        np.concatenate(biases),
        None,
        None,
        bias_of(mask),
        _domain=MICROSOFT,
        **attributes(made),
    )
