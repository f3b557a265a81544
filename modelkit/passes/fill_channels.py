"""Widen feature maps whose channels ONNX Runtime's blocked convolutions do not take."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import lcm

import numpy as np
import onnx_ir as ir

from modelkit.fusions.grouped_conv import merged
from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.model import Model, const_of
from modelkit.passes.changes import Changes
from modelkit.passes.remove_zero_channels import OTHERS, POOLS, ZERO_KEEPING
from modelkit.passes.surgery import attribute, initializer, ints, is_onnx

UNARY = ZERO_KEEPING | OTHERS | {"Clip", "Swish", "ThresholdedRelu"}
"""Operators that make a number of every number, of 0 too."""
BINARY = frozenset(("Add", "Div", "Mul", "PRelu", "Sub"))
MAX_REGION = 64
FACTOR = 4
"""The blocked kernels take inputs and depthwise convolutions of a multiple of this."""
MOST = {0: 1.25, BLOCK: 4 / 3, 1: 2.0}
"""How much wider a map may become: for a plain convolution, for one whose groups then fill one
block, for a depthwise one."""


def fill_channels(model: Model) -> Changes:
    """Give feature maps channels that nobody reads until blocked convolutions take them.

    ONNX Runtime leaves its blocked layout where the channels of a map are no multiple of 4, as
    pruning and some networks have them (90, 58, 57), and depthwise convolutions are then 5 to 14
    times slower; where groups cannot be merged evenly (RegNet's 3 groups of 8) it does, too.  What
    lies between the convolutions that make a map and those that read it is widened as one.
    """
    filled: set[ir.Value] = set()
    count = 0
    for node in list(model.graph):
        for value in _wanting(node):
            if value in filled:
                continue
            region = _region(model.graph, value)
            filled |= {value} if region is None else region.values
            if region is not None and _widened(model.graph, region):
                count += 1
    return Changes(count)


@dataclass
class _Region:
    """The values that have one set of channels, and how each operator among them is widened."""

    width: int
    values: set[ir.Value] = field(default_factory=set)
    steps: list[Callable[[ir.Graph, int], None]] = field(default_factory=list)
    seen: set[tuple[ir.Node, int]] = field(default_factory=set)
    unit: int = BLOCK
    most: float = MOST[0]


def _wanting(node: ir.Node) -> Iterator[ir.Value]:
    """The map that keeps ``node`` from the blocked kernels."""
    value = node.inputs[0] if is_onnx(node, "Conv") else None
    width, weight = _width(value), _weight(node)
    if value is None or width is None or weight is None:
        return
    groups = attribute(node, "group", 1)
    each, made = width // groups, weight.shape[0] // groups
    if groups in (1, width):
        if width % FACTOR:
            yield value
    elif (each % BLOCK or made % BLOCK) and each == made and merged(groups, each, made) is None:
        yield value


def _width(value: ir.Value | None) -> int | None:
    """The channels of a float32 feature map."""
    if value is None or value.dtype != ir.DataType.FLOAT or value.shape is None:
        return None
    dims = list(value.shape)
    return dims[1] if len(dims) == 4 and isinstance(dims[1], int) else None


def _weight(node: ir.Node) -> np.ndarray | None:
    """The constant weight of a convolution over images whose bias is constant too."""
    if not is_onnx(node, "Conv") or any(
        value is not None and value.const_value is None for value in node.inputs[1:]
    ):
        return None
    weight = const_of(node.inputs[1])
    return weight if weight is not None and weight.ndim == 4 else None


def _region(graph: ir.Graph, start: ir.Value) -> _Region | None:
    width = _width(start)
    assert width is not None
    region, waiting = _Region(width), [start]
    while waiting:
        value = waiting.pop()
        if value in region.values:
            continue
        maker = value.producer()
        if maker is None or value.is_graph_output() or _width(value) != width:
            return None
        region.values.add(value)
        for node, place in ((maker, -1), *value.uses()):
            if node.graph is not graph or (node, place) in region.seen:
                if node.graph is not graph:
                    return None
                continue
            region.seen.add((node, place))
            found = _met(region, node, place)
            if found is None or len(region.seen) > MAX_REGION:
                return None
            waiting += found
    return region


def _met(region: _Region, node: ir.Node, place: int) -> list[ir.Value] | None:
    """The values that must be widened too, where ``node`` makes a value of the region (place -1)
    or reads it; None where it cannot stand there.  How the node is widened is noted.
    """
    if is_onnx(node, "Conv"):
        return _met_conv(region, node, place)
    through = _through(region, node)
    if through is None:
        return None
    for other in range(-1, len(node.inputs)):
        region.seen.add((node, other))
    return [*through, node.outputs[0]]


def _met_conv(region: _Region, node: ir.Node, place: int) -> list[ir.Value] | None:
    weight, source = _weight(node), node.inputs[0]
    if weight is None or source is None or place > 0:
        return None
    groups = attribute(node, "group", 1)
    if groups == 1:
        axis = 0 if place < 0 else 1
        if weight.shape[axis] != region.width:
            return None
        region.steps.append(_padding(node, 1, axis))
        if axis == 0 and len(node.inputs) > 2:
            region.steps.append(_padding(node, 2, 0))
        return []
    each, made = weight.shape[1], weight.shape[0] // groups
    if each != made or not _takes_groups(region, each):
        return None
    region.seen |= {(node, -1), (node, 0)}
    region.steps += [_padding(node, 1, 0), lambda graph, more: _regroup(node, each, more)]
    if len(node.inputs) > 2:
        region.steps.append(_padding(node, 2, 0))
    return [source, node.outputs[0]]


def _takes_groups(region: _Region, each: int) -> bool:
    """Note that the groups of ``each`` channels must be such as can be merged."""
    if each == 1:
        region.most = MOST[1]
        return True
    count = 1 if each % BLOCK == 0 else merged(8, each, each)
    if count is None:
        return False
    region.unit = lcm(region.unit, count * each)
    region.most = max(region.most, MOST.get(count * each, 0))
    return True


def _regroup(node: ir.Node, each: int, more: int) -> None:
    groups = attribute(node, "group", 1) + more // each
    node.attributes["group"] = ir.AttrInt64("group", groups)


def _through(region: _Region, node: ir.Node) -> list[ir.Value] | None:
    """The inputs of an operator that works on each channel alone, those that have channels."""
    known = is_onnx(node, node.op_type) or node.op_type == "QuickGelu"
    if not known or len(node.outputs) != 1 or _width(node.outputs[0]) != region.width:
        return None
    first = node.inputs[0]
    if first is None:
        return None
    if node.op_type in UNARY | POOLS | {"QuickGelu"}:
        return [first]
    if node.op_type in BINARY:
        return _operands(region, node)
    if node.op_type == "BatchNormalization":
        if any(const_of(value) is None for value in node.inputs[1:]):
            return None
        region.steps += [_padding(node, place, 0, place == 4) for place in range(1, 5)]
        return [first]
    if node.op_type == "ReduceMean":
        axes = ints(node, 1, "axes")
        is_pool = axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]
        return [first] if is_pool and attribute(node, "keepdims", 1) else None
    if node.op_type == "Resize":
        scales = ints(node, 2) if len(node.inputs) == 3 else None
        return [first] if scales and scales[1] == 1 and node.inputs[1] is None else None
    return None


def _operands(region: _Region, node: ir.Node) -> list[ir.Value] | None:
    found = []
    for place, value in enumerate(node.inputs):
        array = const_of(value)
        if array is not None:
            if array.ndim > 2 and array.shape[-3] == region.width:
                region.steps.append(_padding(node, place, -3, node.op_type == "Div"))
            elif array.ndim > 4 or (array.ndim > 2 and array.shape[-3] != 1):
                return None
        elif value is not None and _width(value) == region.width:
            if node.op_type == "Div" and place == 1:
                return None
            found.append(value)
        elif _width(value) != 1:
            return None
    return found


def _padding(
    node: ir.Node, place: int, axis: int, fill: bool = False
) -> Callable[[ir.Graph, int], None]:
    """What appends zeros, or ones, to constant input ``place`` of ``node``."""

    def pad(graph: ir.Graph, more: int) -> None:
        value = node.inputs[place]
        array = const_of(value)
        if value is None or array is None:
            return
        widths = [(0, 0)] * array.ndim
        widths[axis] = (0, more)
        wide = np.pad(array, widths, constant_values=float(fill))
        tensor = ir.tensor(np.ascontiguousarray(wide.astype(array.dtype)))
        node.replace_input_with(place, initializer(graph, f"{value.name}_filled", tensor))
        if value.name in graph.initializers and not (value.uses() or value.is_graph_output()):
            graph.initializers.pop(value.name)

    return pad


def _widened(graph: ir.Graph, region: _Region) -> bool:
    wide = -(-region.width // region.unit) * region.unit
    if wide == region.width or wide > region.most * region.width:
        return False
    for step in region.steps:
        step(graph, wide - region.width)
    for value in region.values:
        assert value.shape is not None
        dims = list(value.shape)
        dims[1] = wide
        value.shape = ir.Shape(dims)
    return True
