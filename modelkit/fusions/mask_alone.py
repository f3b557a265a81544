"""Do to the mask alone what stands behind its sum with the scores of attention.

Why: attention is known by scaled scores plus one mask; all layers share what is done to it.
CodeGen scales behind the mask, older models of transformers bound the sum by the lowest float,
Bloom adds its positions first.
Equal: up to float rounding; scores vanish beside the number that bounds them.
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.masked_scores import LOW
from modelkit.rewrite import Capture, Expr, either, op

ORDER = -1  # before attention


def _scores(q: Expr, kt: Expr, inner: Expr) -> Expr:
    product = op.MatMul(q, kt)
    found = (product / inner, product * inner, product)
    return either(*(each.named("scores").shared() for each in found))


def scaled(q: Expr, kt: Expr, inner: Expr, mask: Expr, scale: Expr) -> Expr:
    return op.Softmax((_scores(q, kt, inner) + mask) * scale).named("made")


def divided(q: Expr, kt: Expr, inner: Expr, mask: Expr, by: Expr) -> Expr:
    return op.Softmax((_scores(q, kt, inner) + mask) / by).named("made")


def bounded(q: Expr, kt: Expr, inner: Expr, mask: Expr, low: Expr) -> Expr:
    return op.Softmax(op.Max(_scores(q, kt, inner) + mask, low)).named("made")


def twice(q: Expr, kt: Expr, inner: Expr, mask: Expr, further: Expr) -> Expr:
    return op.Softmax((_scores(q, kt, inner) + mask) + further).named("made")


before = (scaled, divided, bounded, twice)


def when(scores: Capture, mask: Capture, scale: Capture, by: Capture, low: Capture) -> str | None:
    if scores.dtype != ir.DataType.FLOAT or scores.shape is None or len(scores.shape) != 4:
        return ""
    for part in (scale, by, low):
        if part.value is not None and (part.const is None or part.const.size != 1):
            return ""
    if mask.shape is None or len(mask.shape) > 4:
        return ""
    if low.const is not None and not _is_lowest(low.const):
        return ""
    return None


def _is_lowest(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all() and array.max() <= LOW)


def after(
    scores: Capture,
    mask: Capture,
    further: Capture,
    scale: Capture,
    by: Capture,
    low: Capture,
    made: Capture,
) -> Expr:
    if scale.value is not None:
        total = scores * scale + mask * scale
    elif by.value is not None:
        total = scores / by + mask / by
    elif low.value is not None:
        total = scores + op.Max(mask, low)
    else:
        total = scores + (mask + further)
    return op.Softmax(total, **made.attrs)
