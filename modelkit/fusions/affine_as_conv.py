"""Multiply and move the channels of a map between convolutions by a 1x1 Conv of each channel alone.

Why: ONNX Runtime leaves its blocked layout for a product or sum of unequal shapes, and goes back to
it behind: two copies of the map.  A depthwise convolution stays, and does both in one pass.
Equal: up to float rounding.
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.gate_as_image import is_blocked, is_read_blocked
from modelkit.fusions.linear_as_conv import UNIT
from modelkit.fusions.scale_before_conv import by_channel
from modelkit.model import const_of
from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "all"
ORDER = 31  # behind winograd, which takes convolutions out of that layout


def before(x: Expr, s: Expr, c: Expr) -> Expr:
    return either(*(each.named("made") for each in (x * s + c, x * s, x + c)))


def when(x: Capture, s: Capture, c: Capture, made: Capture) -> str | None:
    constants = [part for part in (s, c) if part.value is not None]
    if not all(part.is_constant for part in constants) or x.dtype != ir.DataType.FLOAT:
        return ""
    if x.shape is None or len(x.shape) != 4 or not is_blocked(x.value):
        return ""
    if not all(by_channel(part, x, Capture(None)) for part in constants):
        return "the factor or what is added differs within a channel"
    if not isinstance(x.shape[1], int) or x.shape[1] % UNIT or x.shape[1] == 0:
        return f"its channels are not a multiple of {UNIT}"
    if made.value is None or not is_read_blocked(made.value):
        return "what reads it is no convolution"
    return "" if c.value is None and _is_moved(made.value) else None


def _is_moved(value: ir.Value) -> bool:
    """Whether a constant is added behind, which one convolution is to take with the factor."""
    adds = [user for user, _ in value.uses() if user.op_type == "Add"]
    return any(const_of(each) is not None for add in adds for each in add.inputs)


def after(x: Capture, s: Capture, c: Capture) -> Expr:
    assert x.shape is not None
    channels = x.shape[1]
    assert isinstance(channels, int)

    def numbers(part: Capture, default: float) -> np.ndarray:
        value = default if part.value is None else np.asarray(part.const).reshape(-1)
        return np.broadcast_to(np.float32(value), (channels,)).copy()

    weight = numbers(s, 1).reshape(channels, 1, 1, 1)
    return op.Conv(x, weight, numbers(c, 0), group=channels, kernel_shape=[1, 1])
