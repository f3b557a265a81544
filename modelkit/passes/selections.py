"""Operators that take a few places of an axis, and how to take them of another value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant, const_of, fresh_name
from modelkit.passes.surgery import attribute, bypass, ints, is_onnx, same_dims

_FEW = 8
_END = 1 << 30
_AXES_AS_INPUT = 13  # of Squeeze and Unsqueeze

Dim = int | ir.SymbolicDim


@dataclass(frozen=True)
class Selection:
    """What a Gather, Slice or GatherND takes.

    ``reader`` reads the whole: ``node`` itself, or what flattens two axes for it.  ``axes`` are
    those of what it reads; ``lengths`` what is left of them, when the rank is kept; ``key`` is
    equal for two that take the same places of axes of equal length.
    """

    key: object
    node: ir.Node
    reader: ir.Node
    axes: tuple[int, ...]
    lengths: tuple[Dim, ...]
    keeps_rank: bool

    def fits(self, value: ir.Value | None, axes: tuple[int, ...]) -> bool:
        """Whether the same can be taken along ``axes`` of ``value``."""
        if self.reader is self.node:
            return len(axes) == 1 or axes == self.axes
        if value is None or value.shape is None or axes != self.axes:
            return False
        return all(isinstance(dim, int) and dim for dim in list(value.shape)[2:])

    def take_away(self, graph: ir.Graph, opset: int) -> None:
        """Let its readers read what is now computed for the selected places only."""
        whole = self.reader.inputs[0]
        assert whole is not None
        if self.reader is not self.node:
            flat = self.reader.outputs[0]
            flat.shape = self.node.outputs[0].shape
            bypass(self.node, flat)
        elif self.keeps_rank:
            bypass(self.node, whole)
        else:
            _squeeze(graph, self.node, self.axes[-1], opset)

    def of(self, graph: ir.Graph, value: ir.Value, axes: tuple[int, ...], at: ir.Node) -> ir.Value:
        """A value that holds the selected places of ``value`` along ``axes``, its rank kept."""
        stem = f"{value.name}_selected"
        if self.node.op_type == "Slice":
            along = add_constant(graph, f"{stem}_axes", np.array(axes, np.int64))
            starts, ends = self.node.inputs[1:3]
            made = ir.node("Slice", [value, starts, ends, along])
        elif self.node.op_type == "GatherND":
            made = self._unsqueezed(graph, ir.node("GatherND", [value, self.node.inputs[1]]), at)
        elif self.reader is not self.node:
            assert value.shape is not None
            flat = np.array([-1, *list(value.shape)[2:]], np.int64)
            rows = ir.node("Reshape", [value, add_constant(graph, f"{stem}_flat", flat)])
            _named(graph, rows, f"{stem}_flat", value, [None, *list(value.shape)[2:]])
            graph.insert_before(at, rows)
            made = ir.node("Gather", [rows.outputs[0], self.node.inputs[1]], {"axis": 0})
            made = self._unsqueezed(graph, made, at)
        else:
            made = ir.node("Gather", [value, self._index(graph, at)], {"axis": axes[0]})
        dims = None
        if value.shape is not None:
            dims = narrowed(value.shape, axes, self.lengths)
        _named(graph, made, stem, value, dims)
        graph.insert_before(at, made)
        return made.outputs[0]

    def _unsqueezed(self, graph: ir.Graph, rows: ir.Node, at: ir.Node) -> ir.Node:
        """[rows, ...] as [rows, 1, ...]."""
        value = rows.inputs[0]
        assert value is not None
        _named(graph, rows, f"{value.name}_rows", value, None)
        graph.insert_before(at, rows)
        one = add_constant(graph, f"{value.name}_axes", np.array([1], np.int64))
        return ir.node("Unsqueeze", [rows.outputs[0], one])

    def _index(self, graph: ir.Graph, at: ir.Node) -> ir.Value:
        """The indices as a vector, so that the rank is kept."""
        index = self.node.inputs[1]
        assert index is not None
        if self.keeps_rank:
            return index
        array = const_of(index)
        if array is not None:
            return add_constant(graph, f"{index.name}_places", array.reshape(1))
        shape = add_constant(graph, f"{index.name}_shape", np.array([1], np.int64))
        made = ir.node("Reshape", [index, shape])
        made.outputs[0].name = fresh_name(graph, f"{index.name}_places")
        made.outputs[0].type, made.outputs[0].shape = index.type, ir.Shape([1])
        graph.insert_before(at, made)
        return made.outputs[0]


def selection_of(node: ir.Node, opset: int) -> Selection | None:
    """What ``node`` takes, where that is certain and only a small part of its operand."""
    value = node.inputs[0] if len(node.inputs) > 1 else None
    if value is None or value.shape is None or value.producer() is None:
        return None
    if is_onnx(node, "Gather"):
        rows = _rows(node) if opset >= _AXES_AS_INPUT else None
        return rows or _gather(node, value.shape)
    if is_onnx(node, "Slice"):
        return _slice(node, value.shape)
    if is_onnx(node, "GatherND") and opset >= _AXES_AS_INPUT:
        return _gather_nd(node, value.shape)
    return None


def _gather(node: ir.Node, shape: ir.Shape) -> Selection | None:
    axis, index = int(attribute(node, "axis", 0)) % max(len(shape), 1), node.inputs[1]
    if index is None or index.shape is None or len(index.shape) > 1 or axis >= len(shape):
        return None
    length = index.shape[0] if len(index.shape) else 1
    if not _is_part(length, shape[axis]):
        return None
    array = const_of(index)
    place = index if array is None else (array.shape, tuple(array.reshape(-1).tolist()))

    key = ("Gather", place, _same(shape[axis], node))
    return Selection(key, node, node, (axis,), (length,), bool(len(index.shape)))


def _rows(node: ir.Node) -> Selection | None:
    """Rows of [batch * sequence, ...]: as many as there are in the batch."""
    flat, index = node.inputs[0], node.inputs[1]
    reader = None if flat is None else flat.producer()
    if flat is None or reader is None or len(flat.uses()) > 1 or flat.is_graph_output():
        return None
    if reader.graph is not node.graph or attribute(node, "axis", 0) != 0:
        return None
    shape = None if reader.inputs[0] is None else reader.inputs[0].shape
    if shape is None or len(shape) != 3 or flat.shape is None or len(flat.shape) != 2:
        return None
    if is_onnx(reader, "Reshape"):
        is_flat = ints(reader, 1) == [-1, shape[2]] and isinstance(shape[2], int)
    else:
        is_flat = is_onnx(reader, "Flatten") and attribute(reader, "axis", 1) in (2, -1)
    if not is_flat or index is None or index.shape is None or len(index.shape) != 1:
        return None
    if not same_dims([index.shape[0]], [shape[0]]) or shape[1] == 1 or const_of(index) is not None:
        return None
    key = ("rows", index, _same(shape[1], node))
    return Selection(key, node, reader, (0, 1), (index.shape[0], 1), False)


def _slice(node: ir.Node, shape: ir.Shape) -> Selection | None:
    starts, ends, axes, steps = (
        ints(node, place, name)
        for place, name in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps"))
    )
    result = node.outputs[0].shape
    if starts is None or ends is None or axes is None or len(axes) != 1 or result is None:
        return None
    if len(node.inputs) < 4 or (len(node.inputs) > 4 and node.inputs[4] and steps != [1]):
        return None
    axis = axes[0] % len(shape)
    bounded = 0 < _most(starts[0], ends[0]) <= _FEW and not isinstance(shape[axis], int)
    if not bounded and not _is_part(result[axis], shape[axis]):
        return None
    return Selection(
        ("Slice", starts[0], ends[0], _same(shape[axis], node)),
        node,
        node,
        (axis,),
        (result[axis],),
        True,
    )


def _most(start: int, end: int) -> int:
    """How many places lie from ``start`` to ``end`` at most; 0 where the length decides."""
    if start < 0 and end >= _END:
        return -start
    return end - start if (start < 0) == (end < 0) else 0


def _same(length: Dim, node: ir.Node) -> object:
    """Equal for lengths that are known to be equal."""
    return length if isinstance(length, int) else length.value or node


def _is_part(length: Dim, whole: Dim) -> bool:
    if isinstance(whole, int):
        return isinstance(length, int) and 2 * length <= whole
    return length == 1


def _gather_nd(node: ir.Node, shape: ir.Shape) -> Selection | None:
    index = node.inputs[1]
    if attribute(node, "batch_dims", 0) or index is None or index.shape is None or len(shape) < 3:
        return None
    # One row for each of the batch: no more than there were, as every length is at least 1.
    if len(index.shape) != 2 or index.shape[1] != 2 or not same_dims([index.shape[0]], [shape[0]]):
        return None
    if shape[1] == 1:
        return None
    return Selection(
        ("GatherND", index, _same(shape[1], node)), node, node, (0, 1), (index.shape[0], 1), False
    )


def narrowed(shape: ir.Shape, axes: Sequence[int], lengths: Sequence[Dim]) -> list[Dim]:
    """The dims of ``shape`` with ``lengths`` at ``axes``."""
    dims = list(shape)
    for axis, length in zip(axes, lengths, strict=True):
        dims[axis] = length
    return dims


def _named(
    graph: ir.Graph, node: ir.Node, stem: str, like: ir.Value, dims: Sequence[Dim | None] | None
) -> None:
    result = node.outputs[0]
    result.name, result.type = fresh_name(graph, stem), like.type
    result.shape = None if dims is None else ir.Shape(dims)


def _squeeze(graph: ir.Graph, node: ir.Node, axis: int, opset: int) -> None:
    """Put a Squeeze of ``axis`` in the place of ``node``, whose operand has one place there."""
    if opset >= _AXES_AS_INPUT:
        axes = add_constant(graph, f"{node.outputs[0].name}_axes", np.array([axis], np.int64))
        made = ir.node("Squeeze", [node.inputs[0], axes], name=node.name)
    else:
        made = ir.node("Squeeze", [node.inputs[0]], {"axes": [axis]}, name=node.name)
    old = node.outputs[0]
    made.outputs[0].name = fresh_name(graph, f"{old.name}_squeezed")
    made.outputs[0].type, made.outputs[0].shape = old.type, old.shape
    graph.insert_before(node, made)
    bypass(node, made.outputs[0])
