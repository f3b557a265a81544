"""What the convolutions of a region of maps take before and after it is widened.

Rates as ONNX Runtime 1.31 has them on one thread with AVX512, in products or numbers a
microsecond; a decision depends only on how they compare.
"""

from collections.abc import Iterator
from math import prod

import onnx_ir as ir

from modelkit.fusions.grouped_conv import merged
from modelkit.fusions.linear_as_conv import BLOCK, UNIT
from modelkit.passes.channel_region import Region, weight_of, width_of
from modelkit.passes.surgery import attribute, is_onnx

_DENSE, _DENSE_APART = 110e3, 65e3
_DEPTHWISE, _DEPTHWISE_APART = 41e3, 5.5e3
_GROUPED, _GROUPED_APART = 78e3, 22e3
_MOVED = 6e3
_SIDE = 28
"""Of a map whose size is open."""


def microseconds(region: Region, more: int) -> float:
    """About how long the convolutions of ``region``, and moves around them, take for an image.

    ``more`` is how many channels are put at each of its places; 0: as it is.
    """

    def wide(value: ir.Value | None) -> int:
        assert value is not None
        if value not in region.values:
            return _filled(width_of(value), UNIT)  # it may yet be widened
        return width_of(value) + more * len(region.values[value])

    nodes = {node for node, _ in region.seen}
    taken = 0.0
    for node in nodes:
        if is_onnx(node, "Conv"):
            taken += _convolution(node, wide(node.inputs[0]), wide(node.outputs[0]))
        elif is_onnx(node, "Concat"):
            parts = [wide(value) for value in node.inputs]
            if any(width % BLOCK for width in parts) or not all(_blocked_makers(node)):
                taken += 2 * sum(parts) * _pixels(node.outputs[0]) / _MOVED
    return taken


def _convolution(node: ir.Node, read: int, made: int) -> float:
    weight, pixels = weight_of(node), _pixels(node.outputs[0])
    assert weight is not None
    taps, groups = float(prod(weight.shape[2:]) * pixels), attribute(node, "group", 1)
    apart = (read * _pixels(node.inputs[0]) + made * pixels) / _MOVED
    if groups == 1:
        if made % UNIT == 0 and read < BLOCK:
            return _filled(made) * read * taps / _DENSE + _moved_out(node, read)
        if made % UNIT == 0 and read % UNIT == 0:
            return _filled(made) * _filled(read) * taps / _DENSE
        return made * read * taps / _DENSE_APART + apart
    each = int(weight.shape[1])
    if each == 1:
        if made % UNIT == 0:
            return _filled(made) * taps / _DEPTHWISE
        return made * taps / _DEPTHWISE_APART + apart
    together = 1 if each % BLOCK == 0 else merged(made // each, each, each)
    if together is not None:
        return made * each * together * taps / _GROUPED
    return made * each * taps / _GROUPED_APART + apart


def _moved_out(node: ir.Node, read: int) -> float:
    """What a map of less than a block takes that leaves the layout, in which it is not read."""
    source = node.inputs[0]
    is_image = source is None or source.producer() is None
    return 0.0 if is_image else read * _pixels(source) / _MOVED


def _blocked_makers(node: ir.Node) -> Iterator[bool]:
    """Of each map that ``node`` puts together, whether it may come from a convolution."""
    for value in node.inputs:
        maker = None if value is None else value.producer()
        yield maker is not None and not is_onnx(maker, "Split")


def _filled(width: int, unit: int = BLOCK) -> int:
    return -(-width // unit) * unit


def _pixels(value: ir.Value | None) -> int:
    sides = () if value is None or value.shape is None else value.shape[2:]
    return prod(side if isinstance(side, int) else _SIDE for side in sides)
