"""Compute only the places of an axis that the model reads in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, const_of, fresh_name
from modelkit.model.walk import ONNX, nested
from modelkit.passes.axis_sources import MICROSOFT, axis_sources
from modelkit.passes.changes import Changes
from modelkit.passes.selections import Selection, narrowed, selection_of
from modelkit.passes.surgery import is_onnx
from modelkit.safe import safe

_HEAVY = frozenset(
    (("", "Attention"), ("", "Conv"), ("", "Gemm"), ("", "MatMul"), (MICROSOFT, "MatMulNBits"))
)
_OLDEST = 7  # before, elementwise operators broadcast by attributes

Use = tuple[ir.Node, int]


def select_early(model: Model) -> Changes:
    """Move a Gather, Slice or GatherND of few places of an axis up, before linear layers.

    A classifier reads one token of the last block: its feed-forward part, its output projection and
    its queries are then computed for that token alone.  The move passes operators that treat the
    places of the axis alike, and stops where others read more of it.  Exact up to the rounding of
    matrix products of another size.
    """
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    count, notes = 0, []
    if opset >= _OLDEST:
        for graph in list(nested(model.graph)):
            for region in _regions(graph, opset):
                region.apply(opset)
                count += 1
                notes.append(region.note())
    return Changes(count, tuple(notes))


@dataclass
class _Region:
    """The operators that need only the places of one selection, and the ends that are cut."""

    graph: ir.Graph
    ends: list[Selection]  # all of the same places
    nodes: list[tuple[ir.Node, tuple[int, ...]]] = field(default_factory=list)
    asked: dict[Use, tuple[int, ...]] = field(default_factory=dict)

    def axes_of(self, value: ir.Value) -> tuple[int, ...] | None:
        """The axes that all readers of ``value`` take only the selected places of."""
        if value.is_graph_output() or not value.uses():
            return None
        found = {self.asked.get((use.node, use.idx)) for use in value.uses()}
        return found.pop() if len(found) == 1 else None

    def grow(self, order: dict[ir.Node, int], opset: int) -> None:
        """Walk up from the ends: each node is seen after all that read it."""
        waiting: list[tuple[int, ir.Node]] = []
        for end in self.ends:
            self._ask(end.reader, 0, end.axes, order, waiting)
        seen: set[ir.Node] = set()
        while waiting:
            node = heappop(waiting)[1]
            if node in seen:
                continue
            seen.add(node)
            axes = self._needed(node)
            sources = None if axes is None else self._sources(node, axes, opset)
            if axes is None or sources is None:
                continue
            self.nodes.append((node, axes))
            for place, own in enumerate(sources):
                if own is not None:
                    self._ask(node, place, own, order, waiting)

    def _ask(
        self,
        node: ir.Node,
        place: int,
        axes: tuple[int, ...],
        order: dict[ir.Node, int],
        waiting: list[tuple[int, ir.Node]],
    ) -> None:
        self.asked[node, place] = axes
        value = node.inputs[place]
        maker = None if value is None else value.producer()
        if maker is not None and maker in order:
            heappush(waiting, (-order[maker], maker))

    def _needed(self, node: ir.Node) -> tuple[int, ...] | None:
        used = [each for each in node.outputs if each.uses() or each.is_graph_output()]
        found = {self.axes_of(each) for each in used}
        return found.pop() if len(found) == 1 else None

    def _sources(
        self, node: ir.Node, axes: tuple[int, ...], opset: int
    ) -> list[tuple[int, ...] | None] | None:
        each = [axis_sources(node, axis, opset) for axis in axes]
        if any(sources is None for sources in each):
            return None
        found: list[tuple[int, ...] | None] = []
        operands = zip(*(sources for sources in each if sources is not None), strict=True)
        for value, own in zip(node.inputs, operands, strict=True):
            known = tuple(axis for axis in own if axis is not None)
            if known and (len(known) < len(axes) or not self.ends[0].fits(value, known)):
                return None
            found.append(known or None)
        return found

    def pays(self) -> bool:
        """Whether something is saved that is worth further selections at the ends."""
        return any(
            ("" if node.domain in ONNX else node.domain, node.op_type) in _HEAVY
            for node, _ in self.nodes
        )

    def note(self) -> str:
        return (
            f"{len(self.nodes)} operators before '{safe(self.ends[0].node.name or 'a selection')}'"
        )

    def apply(self, opset: int) -> None:
        """Select at the ends of the region, and let what is inside compute those places only."""
        inside = {node for node, _ in self.nodes}
        made: dict[tuple[ir.Value, tuple[int, ...]], ir.Value] = {}
        for (node, place), axes in self.asked.items():
            value = node.inputs[place]
            if value is None or node not in inside or value.producer() in inside:
                continue
            if (value, axes) not in made:
                made[value, axes] = self.ends[0].of(self.graph, value, axes, node)
            node.replace_input_with(place, made[value, axes])
        for node, axes in self.nodes:
            _narrow(self.graph, node, axes, self.ends[0].lengths)
        for end in self.ends:
            whole = end.reader.inputs[0]
            if whole is not None and whole.producer() in inside:
                end.take_away(self.graph, opset)
        self.graph.sort()


def _narrow(
    graph: ir.Graph, node: ir.Node, axes: tuple[int, ...], lengths: Sequence[int | ir.SymbolicDim]
) -> None:
    """Give the results of ``node`` the lengths that are left."""
    for value in node.outputs:
        if value.shape is not None and max(axes) < len(value.shape):
            value.shape = ir.Shape(narrowed(value.shape, axes, lengths))
    if is_onnx(node, "Reshape"):
        target = const_of(node.inputs[1])
        assert target is not None
        copied = np.array(target, np.int64)
        copied[list(axes)] = 0  # the length of the input there
        node.attributes.pop("allowzero", None)
        node.replace_input_with(1, add_constant(graph, fresh_name(graph, "shape"), copied))


def _regions(graph: ir.Graph, opset: int) -> list[_Region]:
    found: dict[object, list[Selection]] = {}
    order: dict[ir.Node, int] = {}
    for place, node in enumerate(graph):
        order[node] = place
        selection = selection_of(node, opset)
        if selection is not None:
            found.setdefault(selection.key, []).append(selection)
    regions = []
    taken: set[ir.Node] = set()
    for ends in found.values():
        region = _Region(graph, ends)
        region.grow(order, opset)
        # Two regions do not meet; a later round sees what one left for another.
        if region.pays() and taken.isdisjoint(node for node, _ in region.nodes):
            taken.update(node for node, _ in region.nodes)
            regions.append(region)
    return regions
