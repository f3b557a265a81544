"""Write what scales or moves each channel of a map at the size of the map.

Why: ONNX Runtime leaves its blocked layout for a product of unequal shapes, and goes back to it
behind: two copies of the map.  Repeated for each pixel, the gate stays there with the map.  One
that is no result of a convolution gets into that layout by one that keeps every number.
Equal: exactly.
"""

from collections.abc import Iterator
from math import prod

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.fusions.repeat_as_resize import repeated
from modelkit.rewrite import Capture, Expr, either, op
from modelkit.rewrite.winograd import NAMES

LEVEL = "all"
OPSET = 11
ORDER = 31  # behind inverted_residual, and winograd, which takes convolutions out of that layout

_KINDS = ("Mul", "Add")
_ALONE = ("Relu", "Sigmoid", "HardSigmoid", "Tanh", "Gelu", "QuickGelu", "MaxPool", "AveragePool",
          "GlobalAveragePool", "GlobalMaxPool")  # fmt: skip
"""Operators that stay in the blocked layout, or that a convolution takes along."""
_READING = ("Conv", *NAMES)
_DEEPEST = 8
_IMAGES = 4
"""So many are in a batch of open length, for all we know."""
_LARGEST = 1 << 22
"""Bytes of a map; larger, the repeated gate drives it out of the caches (0.75-0.95x)."""


def unfit(x: Capture) -> str | None:
    """Why the map ``x`` [N, C, H, W] cannot have a gate of its size in the blocked layout."""
    channels, *sides = (x.shape or ())[1:] or (None,)
    if not isinstance(channels, int) or not all(isinstance(side, int) for side in sides):
        return "the size of its feature map is not fixed"
    return f"its channels are not a multiple of {BLOCK}" if channels % BLOCK else None


def is_gate(gate: Capture, x: Capture) -> bool:
    """Whether ``gate`` [N, C, 1, 1] is computed, for the map ``x`` [N, C, H, W] in float32."""
    if x.shape is None or len(x.shape) != 4 or gate.shape != (*x.shape[:2], 1, 1):
        return False
    if 0 in x.shape or x.shape[2:] == (1, 1):
        return False
    return x.dtype == ir.DataType.FLOAT and not gate.is_constant


def kept(image: Expr, channels: int, bias: Capture | None = None) -> Expr:
    """The ``image`` [N, channels, H, W] in the blocked layout, plus the ``bias`` [channels]."""
    ones = np.ones((channels, 1, 1, 1), np.float32)
    added = () if bias is None else (bias,)
    return op.Conv(image, ones, *added, group=channels, kernel_shape=[1, 1])


def before(x: Expr, gate: Expr) -> Expr:
    return either(*(Expr(kind, (x, gate)).named("made") for kind in _KINDS))


def when(x: Capture, gate: Capture, made: Capture) -> str | None:
    if x.shape is None or not is_gate(gate, x) or not is_blocked(x.value):
        return ""
    reason = unfit(x)
    if reason is not None:
        return reason
    size = _bytes(x)
    if size > _LARGEST:
        return f"two maps of {size} bytes, for a batch of {_batch(x)}, do not stay in the caches"
    if made.value is None or not is_read_blocked(made.value):
        return "what reads it is no convolution"
    if not isinstance(x.shape[0], int):
        size = max((_bytes(each) for each in _sums(made.value)), default=0)
        if size > _LARGEST:
            return f"the sum behind it, of {size} bytes, would no longer be computed in place"
    return None


def _batch(x: Capture) -> int:
    length = (x.shape or (None,))[0]
    return length if isinstance(length, int) else _IMAGES


def _bytes(x: Capture) -> int:
    lengths = (x.shape or ())[1:]
    return 4 * _batch(x) * prod(dim for dim in lengths if isinstance(dim, int))


def _sums(made: ir.Value) -> Iterator[Capture]:
    """What convolutions of ``made`` are added to: by ONNX Runtime in place, if it knows the shapes.

    It does not know the batch of what it repeats.
    """
    for conv, _ in made.uses():
        if conv.op_type == "Conv":
            adds = {user.op_type for user, _ in conv.outputs[0].uses()}
            if "Add" in adds:
                yield Capture(conv.outputs[0])


def is_blocked(value: ir.Value | None, depth: int = _DEEPEST) -> bool:
    """Whether ``value`` leaves a convolution, perhaps through operators of the same layout."""
    node = None if value is None else value.producer()
    if node is None or not depth:
        return False
    if node.op_type in _ALONE:
        return is_blocked(node.inputs[0], depth - 1)
    if node.op_type in _KINDS:
        maps = [each for each in node.inputs if not _is_pixel(each) or _is_pixel(value)]
        return all(is_blocked(each, depth - 1) for each in maps)
    return node.op_type in ("Conv", "Resize")


def _is_pixel(value: ir.Value | None) -> bool:
    return (Capture(value).shape or ())[2:] == (1, 1)


def is_read_blocked(value: ir.Value, depth: int = _DEEPEST) -> bool:
    """Whether only convolutions read ``value``, perhaps behind operators of the same layout."""
    users = [user for user, _ in value.uses()]
    if not users or not depth or value.is_graph_output():
        return False
    return all(
        user.op_type in (*_READING, *_KINDS)
        or (user.op_type in _ALONE and is_read_blocked(user.outputs[0], depth - 1))
        for user in users
    )


def after(x: Capture, gate: Capture, made: Capture) -> Expr:
    assert made.node is not None
    assert x.shape is not None
    inside: Expr = gate
    if not is_blocked(gate.value):
        channels = x.shape[1]
        assert isinstance(channels, int)
        inside = kept(gate, channels)
    return Expr(made.node.op_type, (x, repeated(inside, x.shape[2:])))
