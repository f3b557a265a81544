"""The feature maps that must have the same channels, and what gives all of them more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant, const_of
from modelkit.passes.remove_zero_channels import OTHERS, POOLS, ZERO_KEEPING
from modelkit.passes.surgery import attribute, ints, is_onnx

UNARY = ZERO_KEEPING | OTHERS | {"Clip", "QuickGelu", "Swish", "ThresholdedRelu"}
"""Operators that make a number of every number, of 0 too."""
BINARY = frozenset(("Add", "Div", "Mul", "PRelu", "Sub"))
MAX_REGION = 512

Places = tuple[int, ...]
"""Where new channels go, counted in the old ones; each gets as many."""
Met = list[tuple[ir.Value, Places]] | None
"""The maps an operator connects, and where their channels go; None where it lets none through."""


@dataclass
class Region:
    """Maps of ``width`` channels and what is joined or split of them.

    Those of ``values`` without places stay as they are.  ``steps`` give the operators among them
    more channels; ``groups`` are the channels of a group of each convolution that works in groups.
    """

    graph: ir.Graph
    width: int
    values: dict[ir.Value, Places] = field(default_factory=dict)
    steps: list[Callable[[int], None]] = field(default_factory=list)
    groups: set[int] = field(default_factory=set)
    seen: set[tuple[ir.Node, int]] = field(default_factory=set)

    def widen(self, more: int) -> None:
        """Put ``more`` channels at each of the places."""
        for step in self.steps:
            step(more)
        for value, places in self.values.items():
            assert value.shape is not None
            dims = list(value.shape)
            dims[1] = width_of(value) + more * len(places)
            value.shape = ir.Shape(dims)

    def fill(self, node: ir.Node, place: int, axis: int, places: Places, by: float = 0) -> None:
        """Note that constant input ``place`` of ``node`` gets slices of ``by`` along ``axis``."""

        def step(more: int) -> None:
            value = node.inputs[place]
            array = const_of(value)
            assert value is not None
            assert array is not None
            wide = np.insert(array, np.repeat(places, more), by, axis=axis)
            self._replace(node, place, np.ascontiguousarray(wide))

        self.steps.append(step)

    def add(self, node: ir.Node, place: int, counts: Sequence[int]) -> None:
        """Note that sizes in constant input ``place`` of ``node`` grow by as many new channels."""

        def step(more: int) -> None:
            sizes = const_of(node.inputs[place])
            assert sizes is not None
            self._replace(node, place, sizes + more * np.array(counts, sizes.dtype))

        self.steps.append(step)

    def _replace(self, node: ir.Node, place: int, array: np.ndarray) -> None:
        old = node.inputs[place]
        assert old is not None
        assert old.name is not None
        node.replace_input_with(place, add_constant(self.graph, f"{old.name}_filled", array))
        if old.name in self.graph.initializers and not (old.uses() or old.is_graph_output()):
            self.graph.initializers.pop(old.name)


def width_of(value: ir.Value | None) -> int:
    """The channels of a float32 feature map [N, C, H, W]; 0 for anything else."""
    if value is None or value.dtype != ir.DataType.FLOAT or value.shape is None:
        return 0
    dims = list(value.shape)
    return dims[1] if len(dims) == 4 and isinstance(dims[1], int) else 0


def weight_of(node: ir.Node) -> np.ndarray | None:
    """The constant weight of a convolution over images whose bias is constant too."""
    if not is_onnx(node, "Conv"):
        return None
    weight, *others = (const_of(value) for value in node.inputs[1:] if value is not None)
    if weight is None or weight.ndim != 4 or any(array is None for array in others):
        return None
    return weight


def region_of(graph: ir.Graph, start: ir.Value) -> Region | None:
    """All that must be widened with ``start``; None where something it meets cannot be.

    A map may be made and read by convolutions of one group, whose constant weights get zeros for
    the new channels; between them stand operators that work on each channel alone, sums and
    products of maps, convolutions in groups, and maps put together or taken apart.
    """
    region = Region(graph, width_of(start))
    waiting: list[tuple[ir.Value, Places]] = [(start, (region.width,))]
    while waiting:
        value, places = waiting.pop()
        if value in region.values:
            if region.values[value] != places:
                return None
            continue
        region.values[value] = places
        if not places:
            continue
        maker = value.producer()
        if maker is None or value.is_graph_output() or not width_of(value):
            return None
        for node, place in ((maker, -1), *value.uses()):
            if node.graph is not graph or len(region.seen) > MAX_REGION:
                return None
            if (node, place) not in region.seen:
                region.seen.add((node, place))
                found = _met(region, node, place, value)
                if found is None:
                    return None
                waiting += found
    return region


def _met(region: Region, node: ir.Node, place: int, value: ir.Value) -> Met:
    """What ``node``, which makes ``value`` (place -1) or reads it, connects it with."""
    if is_onnx(node, "Conv"):
        return _met_convolution(region, node, place, value)
    region.seen |= {(node, other) for other in range(-1, len(node.inputs))}
    if is_onnx(node, "Concat"):
        return _met_concat(region, node)
    if is_onnx(node, "Split"):
        return _met_split(region, node)
    if len(node.outputs) != 1 or width_of(node.outputs[0]) != width_of(value):
        return None
    places = region.values[value]
    found = _through(region, node, width_of(value), places)
    return None if found is None else [(each, places) for each in (*found, node.outputs[0])]


def _met_convolution(region: Region, node: ir.Node, place: int, value: ir.Value) -> Met:
    weight, source, places = weight_of(node), node.inputs[0], region.values[value]
    if weight is None or source is None or place > 0:
        return None
    groups = attribute(node, "group", 1)
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    if groups == 1:
        region.fill(node, 1, 0 if place < 0 else 1, places)
        if place < 0 and has_bias:
            region.fill(node, 2, 0, places)
        return []
    each = weight.shape[1]
    if each != weight.shape[0] // groups or any(at % each for at in places):
        return None
    region.groups.add(each)
    region.seen |= {(node, -1), (node, 0)}
    region.fill(node, 1, 0, places)
    if has_bias:
        region.fill(node, 2, 0, places)

    def regroup(more: int) -> None:
        count = groups + len(places) * more // each
        node.attributes["group"] = ir.AttrInt64("group", count)

    region.steps.append(regroup)
    return [(source, places), (node.outputs[0], places)]


def _met_concat(region: Region, node: ir.Node) -> Met:
    if attribute(node, "axis") not in (1, -3):
        return None
    return _met_parts(region, node.outputs[0], node.inputs)


def _met_split(region: Region, node: ir.Node) -> Met:
    source = node.inputs[0]
    if source is None or attribute(node, "axis", 0) not in (1, -3) or "split" in node.attributes:
        return None
    found = _met_parts(region, source, node.outputs)
    if found is None:
        return None
    counts = [len(dict(found).get(output, ())) for output in node.outputs]
    if len(node.inputs) > 1:
        if const_of(node.inputs[1]) is None:
            return None
        region.add(node, 1, counts)
    elif len(set(counts)) > 1:
        return None
    return found


def _met_parts(region: Region, whole: ir.Value, parts: Sequence[ir.Value | None]) -> Met:
    """Where ``parts`` and their ``whole`` get new channels, whichever is known; () is nowhere.

    Where the whole is not of the region yet, those parts get some that are, or that are as wide as
    its first map.
    """
    start, found, joined = 0, [], []
    inside = region.values.get(whole)
    for part in parts:
        if part is None or not width_of(part):
            return None
        end = start + width_of(part)
        if inside is not None:
            places = tuple(at - start for at in inside if start < at <= end)
        else:
            like = (region.width,) if width_of(part) == region.width else ()
            places = region.values.get(part, like)
        found.append((part, places))
        joined += [start + at for at in places]
        start = end
    return [*found, (whole, tuple(joined))]


def _through(region: Region, node: ir.Node, width: int, places: Places) -> list[ir.Value] | None:
    """The inputs of an operator that works on each channel alone, those that have channels."""
    first = node.inputs[0] if is_onnx(node, node.op_type) or node.op_type == "QuickGelu" else None
    if first is None:
        return None
    if node.op_type in UNARY | POOLS:
        return [first]
    if node.op_type in BINARY:
        return _operands(region, node, width, places)
    if node.op_type == "BatchNormalization":
        if any(const_of(value) is None for value in node.inputs[1:]):
            return None
        for place in range(1, 5):
            region.fill(node, place, 0, places, by=place == 4)
        return [first]
    if node.op_type == "ReduceMean":
        axes = ints(node, 1, "axes")
        is_pool = axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]
        return [first] if is_pool and attribute(node, "keepdims", 1) else None
    if node.op_type == "Resize":
        scales = ints(node, 2) if len(node.inputs) == 3 else None
        return [first] if scales and scales[1] == 1 and node.inputs[1] is None else None
    return None


def _operands(region: Region, node: ir.Node, width: int, places: Places) -> list[ir.Value] | None:
    found = []
    for place, value in enumerate(node.inputs):
        array = const_of(value)
        if array is not None:
            if array.ndim > 2 and array.shape[-3] == width:
                region.fill(node, place, array.ndim - 3, places, by=node.op_type == "Div")
            elif array.ndim > 4 or (array.ndim > 2 and array.shape[-3] != 1):
                return None
        elif value is not None and width_of(value) == width:
            if node.op_type == "Div" and place == 1:
                return None
            found.append(value)
        elif width_of(value) != 1:
            return None
    return found
