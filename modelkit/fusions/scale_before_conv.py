"""Fold the constant that multiplies the channels a Conv reads into its weights.

Why: one kernel less, and no pass over the image: what models of Keras and wrappers of others begin
with, (image - mean) / deviation, keeps its difference alone; of image * scale + shift the shift is
scaled in the place of the image.
Equal: up to float rounding; zeros that pad stay zeros.
"""

import numpy as np
import onnx_ir as ir

from modelkit.model import const_of
from modelkit.rewrite import Capture, Expr, convolution, either, op

LEVEL = "basic"
ORDER = 15  # behind what folds constants into the convolution before

_SMALLEST = 1e-6
"""Of a factor, that neither weights nor a shift it divides leave the range of numbers."""
_PREPARING = ("Add", "Cast", "Div", "Mul", "Reshape", "Squeeze", "Sub", "Transpose", "Unsqueeze")


def before(x: Expr, c: Expr, d: Expr, plus: Expr, minus: Expr, w: Expr, b: Expr) -> Expr:
    scaled = either(x * c, x / d)
    image = either(scaled, scaled + plus, scaled - minus)
    return convolution(either(op.Transpose(image).named("moved"), image), w, b)


def when(
    x: Capture, c: Capture, d: Capture, plus: Capture, minus: Capture, w: Capture, moved: Capture
) -> str | None:
    constants = [part for part in (c, d, plus, minus) if part.value is not None]
    if not all(part.is_constant for part in constants) or not _is_from_outside(x):
        return ""
    if not w.is_constant or x.dtype != ir.DataType.FLOAT or w.value is None:
        return "it is not float32 with a constant weight"
    if len(w.value.uses()) > 1:
        return "its weight is used elsewhere too"
    if x.shape is None or len(x.shape) != len(np.asarray(w.const).shape):
        return "the rank of the image is not known"
    if not all(by_channel(part, x, moved) for part in constants):
        return "the factor differs within a channel"
    scale = abs(_scale(c, d))
    if not ((scale > _SMALLEST) & (scale < 1 / _SMALLEST)).all():
        return "a factor is zero, or far from one"
    return None


def after(
    x: Capture,
    c: Capture,
    d: Capture,
    plus: Capture,
    minus: Capture,
    w: Capture,
    b: Capture,
    moved: Capture,
    conv: Capture,
) -> Expr:
    weight = np.asarray(w.const)
    weight = weight * read_by_filters(_scale(c, d), weight, conv)
    image: Expr = x
    if plus.value is not None:
        image = x + np.asarray(plus.const) / _scale(c, d)
    if minus.value is not None:
        image = x - np.asarray(minus.const) / _scale(c, d)
    if moved.value is not None:
        image = op.Transpose(image, **moved.attrs)
    return op.Conv(image, weight.astype(np.float32), b, **conv.attrs)


def read_by_filters(numbers: np.ndarray, weight: np.ndarray, conv: Capture) -> np.ndarray:
    """``numbers`` of the channels that ``conv`` reads, where ``weight`` multiplies them."""
    filters, each = weight.shape[:2]
    groups = conv.attrs.get("group", 1)
    read = np.broadcast_to(numbers.reshape(-1), (groups * each,)).reshape(groups, 1, each)
    every = np.broadcast_to(read, (groups, filters // groups, each))
    return every.reshape(filters, each, *[1] * (weight.ndim - 2))


def _scale(c: Capture, d: Capture) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(c.const) if c.value is not None else 1 / np.asarray(d.const)


def _is_from_outside(x: Capture) -> bool:
    """Whether it is an input of the model but for what prepares it; others scale for a reason."""
    value = x.value
    while value is not None and not value.is_graph_input():
        node = value.producer()
        made = [] if node is None or node.op_type not in _PREPARING else node.inputs
        varying = [each for each in made if each is not None and const_of(each) is None]
        value = varying[0] if len(varying) == 1 else None
    return value is not None


def by_channel(part: Capture, x: Capture, moved: Capture) -> bool:
    """Whether a constant differs along the axis of channels of ``x`` only, and adds no numbers."""
    assert x.shape is not None
    rank = len(x.shape)
    whole, channels = part.aligned(rank), 1
    if moved.value is not None:
        channels = list(moved.attrs.get("perm", range(rank)[::-1]))[1]
    if whole is None or whole[channels] not in (1, x.shape[channels]):
        return False
    return all(size == 1 for axis, size in enumerate(whole) if axis != channels)
