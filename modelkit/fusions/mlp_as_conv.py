"""Compute two small linear layers and the activation between them as 1x1 convolutions.

Why: few weights stay in the cache and MatMul is as fast as a convolution, but biases, and a
residual behind the second layer, cost nothing in one, and the activation stays in ONNX Runtime's
blocked layout: 1.04-1.23x from 49 rows on (1 thread, AVX-512), more where convolutions stand
around.  Each item of the batch is an image of its own: rows are many, weights few (one image of all
rows of 8 items took 1.4 times as long).  For many weights see ``linear_as_conv``.
Equal: up to float rounding.
"""

from collections.abc import Callable
from math import prod

import onnx_ir as ir

from modelkit.fusions.activation_as_image import ONE, computed
from modelkit.fusions.linear_as_conv import (
    BLOCK,
    EMPTY,
    FEW,
    as_image,
    as_rows,
    convolved,
    may_be_empty,
)
from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "all"
ORDER = 19  # before linear_as_conv takes one layer alone

_FEWEST = 1 << 12  # weights of a layer; below was not measured
_ROWS = 49  # below, the moves between layouts cost what the convolutions gain


def _biased(x: Expr, number: int) -> Expr:
    return op.MatMul(x, Expr(name=f"w{number}")) + Expr(name=f"b{number}")


def _plain(x: Expr, number: int) -> Expr:
    return op.MatMul(x, Expr(name=f"w{number}"))


def _layers(last: Callable[[Expr, int], Expr], kind: str, domain: str) -> Callable[[Expr], Expr]:
    def layers(x: Expr) -> Expr:
        first = either(_biased(x, 1), _plain(x, 1))
        return last(Expr(kind, (first,), domain=domain).named("made"), 2)

    return layers


before = tuple(_layers(last, *kind) for last in (_biased, _plain) for kind in ONE)


def when(x: Capture, w1: Capture, b1: Capture, w2: Capture, b2: Capture) -> str | None:
    if x.dtype != ir.DataType.FLOAT or x.shape is None or len(x.shape) not in (3, 4):
        return "its input is not known to be float32 with three or four axes"
    sizes = []
    for weight, bias in ((w1, b1), (w2, b2)):
        if not weight.is_constant or weight.shape is None or len(weight.shape) != 2:
            return "a weight is not a constant matrix"
        if any(not isinstance(dim, int) or dim % BLOCK for dim in weight.shape):
            return f"its widths are not multiples of {BLOCK}"
        if bias.value is not None and (
            not bias.is_constant or list(bias.shape or ()) != [weight.shape[1]]
        ):
            return "a bias is not a constant vector"
        sizes.append(prod(dim for dim in weight.shape if isinstance(dim, int)))
    if min(sizes) >= FEW:
        return ""  # each is worth it alone
    if min(sizes) < _FEWEST:
        return "it has too few weights"
    if prod(dim for dim in x.shape[:-1] if isinstance(dim, int)) < _ROWS:
        return f"it is not known to have {_ROWS} rows"
    return EMPTY if may_be_empty(x) else None


def after(x: Capture, w1: Capture, b1: Capture, w2: Capture, b2: Capture, made: Capture) -> Expr:
    assert x.shape is not None and w1.const is not None and w2.const is not None
    added = () if len(x.shape) == 4 else (1,)
    inner = computed(made, convolved(as_image(x, added), w1.const, b1))
    return as_rows(convolved(inner, w2.const, b2), added)
