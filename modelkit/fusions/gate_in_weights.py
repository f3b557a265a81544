"""Scale the weights of a 1x1 convolution by the gate of its map, instead of the map.

Why: the product is a pass over a large map, and ONNX Runtime leaves its blocked layout for it; the
weights are few.  The convolution of weights that are computed is a product of matrices with the
channels last; a convolution that keeps every number takes its result back into the blocked layout,
with the bias and whatever is added.  On one thread: with more, the copies of the map do not get
faster, and a batch of one image loses.
Equal: up to float rounding.
"""

from math import prod

import numpy as np

from modelkit.fusions.gate_as_image import is_blocked, is_gate, kept, unfit
from modelkit.fusions.linear_as_conv import BLOCK, EMPTY, as_image, as_rows, may_be_empty
from modelkit.rewrite import Capture, Expr, convolution, op

LEVEL = "all"
OPSET = 5  # Reshape takes its sizes as an input
ORDER = 30  # behind inverted_residual, before gate_as_image

_SMALLEST = 700_000
"""Bytes of an image's map; of a smaller, the product is nearly free (0.96-1.04x)."""
_LARGEST = 5 << 20
"""Bytes of an image's map; larger, its rows drive it out of the caches (0.92x at batch 4)."""
_NARROWS = 3
_FEW = 128
"""Filters narrow so much if they are more: else the product of matrices is most of the time, and
slower than the convolution (0.92-0.99x)."""


def before(x: Expr, gate: Expr, w: Expr, b: Expr) -> Expr:
    return convolution(x * gate, w, b, "conv")


def when(x: Capture, gate: Capture, w: Capture, conv: Capture) -> str | None:
    if not is_gate(gate, x) or not is_blocked(x.value):
        return ""
    if not w.is_constant or w.shape is None or conv.attrs.get("group", 1) != 1:
        return "its convolution has no constant weights, or groups"
    if w.shape[2:] != (1, 1) or any(n != 1 for n in conv.attrs.get("strides", ())):
        return "its convolution is no linear layer of each pixel"
    if any(conv.attrs.get("pads", ())):
        return "its convolution pads"
    return unfit(x) or _not_worth(x, w) or (EMPTY if may_be_empty(x) else None)


def _not_worth(x: Capture, w: Capture) -> str | None:
    filters, channels = (dim for dim in (w.shape or ())[:2] if isinstance(dim, int))
    if filters % BLOCK:
        return f"the channels behind it are not a multiple of {BLOCK}"
    if channels < filters * (_NARROWS if filters > _FEW else 2):
        return f"its convolution makes {filters} of {channels} channels"
    if _pixels(x) < 2 * filters:
        return "its weights are not few beside its map"
    size = 4 * channels * _pixels(x)
    if size < _SMALLEST:
        return f"its map is small ({size} bytes)"
    return f"its map of {size} bytes does not stay in the caches" if size > _LARGEST else None


def _pixels(x: Capture) -> int:
    return prod(side for side in (x.shape or ())[2:] if isinstance(side, int))


def after(x: Capture, w: Capture, gate: Capture, b: Capture) -> Expr:
    assert x.shape is not None and w.const is not None
    height, width = x.shape[2:]
    filters, channels = w.const.shape[:2]
    weight = np.ascontiguousarray(w.const.reshape(filters, channels).T)
    rows = op.Reshape(as_rows(x, ()), np.array([0, _pixels(x), channels], np.int64))
    scaled = op.Reshape(gate, np.array([0, channels, 1], np.int64)) * weight
    made = op.Reshape(op.MatMul(rows, scaled), np.array([0, height, width, filters], np.int64))
    return kept(as_image(made, ()), filters, b)
