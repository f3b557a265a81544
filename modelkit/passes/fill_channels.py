"""Widen feature maps whose channels ONNX Runtime's blocked convolutions do not take."""

from collections.abc import Iterator
from math import lcm

import onnx_ir as ir

from modelkit.fusions.grouped_conv import merged
from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.model import Model
from modelkit.passes.changes import Changes
from modelkit.passes.channel_costs import microseconds
from modelkit.passes.channel_region import BINARY, UNARY, Region, region_of, weight_of, width_of
from modelkit.passes.surgery import attribute, is_onnx

ALONE = UNARY | BINARY | {"BatchNormalization"}
MOST, MOST_DEPTHWISE = 4 / 3, 2.0
"""How much wider a map may become, and one of a depthwise convolution."""


def fill_channels(model: Model) -> Changes:
    """Give feature maps channels that nobody reads until they fill blocks.

    ONNX Runtime leaves its blocked layout where the channels of a map are no multiple of 4, as
    pruning and some networks have them (90, 58, 57), and depthwise convolutions are then 5 to 14
    times slower; where groups cannot be merged evenly (RegNet's 3 groups of 8) it does, too.  Maps
    of other numbers it fills up itself, but what is put together of such it cannot keep in blocks,
    nor can some fusions take them.  What lies between the convolutions that make a map and those
    that read it is widened as one, unless its convolutions would take longer: a few depthwise
    channels of InceptionNeXt would widen all linear layers beside them.
    """
    met: set[ir.Value] = set()
    count = 0
    for node in list(model.graph):
        for value in _wanting(node):
            if value in met:
                continue
            met.add(value)
            region = region_of(model.graph, value)
            if region is not None and _widened(region):
                met |= region.values.keys()
                count += 1
    return Changes(count)


def _wanting(node: ir.Node) -> Iterator[ir.Value]:
    """The map that keeps ``node`` from the blocked kernels, then what it was put together from."""
    value, weight = node.inputs[0] if is_onnx(node, "Conv") else None, weight_of(node)
    width = width_of(value)
    if value is None or weight is None or not width:
        return
    groups = attribute(node, "group", 1)
    each, made = weight.shape[1], weight.shape[0] // groups
    if groups in (1, width):
        if width % BLOCK:
            yield from _with_parts(value)
    elif (each % BLOCK or made % BLOCK) and each == made and merged(groups, each, made) is None:
        yield value


def _with_parts(value: ir.Value) -> Iterator[ir.Value]:
    yield value
    maker = value.producer()
    while maker is not None and maker.op_type in ALONE and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer()
    if maker is not None and is_onnx(maker, "Concat"):
        for part in maker.inputs:
            if part is not None and width_of(part) % BLOCK:
                yield part


def _widened(region: Region) -> bool:
    unit = BLOCK
    for each in region.groups:
        count = 1 if each % BLOCK == 0 or each == 1 else merged(8, each, each)
        if count is None:
            return False
        unit = lcm(unit, count * each)
    most = MOST_DEPTHWISE if 1 in region.groups else MOST
    wide = -(-region.width // unit) * unit
    if wide == region.width or wide > most * region.width:
        return False
    more = wide - region.width
    if microseconds(region, more) > microseconds(region, 0):
        return False
    region.widen(more)
    return True
