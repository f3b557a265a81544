"""Multiply batches of heads as such, not flattened into one axis."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import shape_of
from modelkit.passes.maker import Maker
from modelkit.passes.surgery import attribute, bypass, constant, is_onnx, rank, same_dims

Dims = list[int | ir.SymbolicDim]
_SQUEEZE_OPSET = 13  # from here on their axes are an input


def split_batches(model: Model) -> Changes:
    """Let MatMul have the axes that Reshapes flatten before it and split again behind it.

    tf2onnx writes Einsum so, [batch, heads, 1, rows, width] as [batch*heads, rows, width]; axes of
    one that stand between are squeezed out and in.  Exact; all shapes must be known.
    """
    count = 0
    if model.opset_imports.get("", 0) < _SQUEEZE_OPSET:
        return Changes(0)
    for graph in list(graphs(model)):
        for node in graph:
            if is_onnx(node, "MatMul") and rank(node.outputs[0]) == 3:
                count += _split(model, graph, node)
    return Changes(count)


@dataclass(frozen=True)
class _Operand:
    """A flattened operand: what it is made of, its axes of one, its batch, and whether swapped."""

    source: ir.Value
    ones: list[int]
    batch: Dims
    swapped: bool


def _split(model: Model, graph: ir.Graph, node: ir.Node) -> bool:
    operands = [None if value is None else operand_of(value) for value in node.inputs]
    left, right = operands
    if left is None or right is None or not same_dims(left.batch, right.batch):
        return False
    out = node.outputs[0]
    readers = [reader for reader, _ in out.uses()]
    if out.is_graph_output() or not readers or out.shape is None:
        return False
    if any(reader.graph is not graph or reader.outputs[0].is_graph_output() for reader in readers):
        return False
    places = [_places(reader, list(out.shape), left.batch) for reader in readers]
    if any(found is None for found in places):
        return False
    values = [_whole(model, graph, node, each) for each in (left, right)]
    if None in values:
        return False
    product = _made(graph, node, "MatMul", values)
    product.shape = ir.Shape([*left.batch, *list(out.shape)[1:]])
    for reader, ones in zip(readers, places, strict=True):
        made = _with_axes(model, graph, reader, "Unsqueeze", product, ones or [])
        if made is None or not bypass(reader, made):
            return False
    return True


def operand_of(value: ir.Value) -> _Operand | None:
    """What ``value`` [batch*heads, rows, width] is flattened from; None for anything else."""
    maker = value.producer()
    swapped = maker is not None and is_onnx(maker, "Transpose")
    if maker is not None and swapped:
        if list(attribute(maker, "perm", ())) != [0, 2, 1] or maker.inputs[0] is None:
            return None
        value = maker.inputs[0]
        maker = value.producer()
    source = maker.inputs[0] if maker is not None and is_onnx(maker, "Reshape") else None
    shape = None if source is None else shape_of(source)
    if source is None or shape is None or value.shape is None or len(value.shape) != 3:
        return None
    ones, batch = _parted(list(shape), list(value.shape)[1:])
    if ones is None or len(batch) < 2:
        return None
    return _Operand(source, ones, batch, swapped)


def _parted(dims: Dims, last: Dims) -> tuple[list[int] | None, Dims]:
    """Axes of one among ``dims`` and the batch that is left in front of the axes ``last``."""
    ones, left = [], list(last)
    axis = len(dims)
    while left and axis:
        axis -= 1
        if same_dims([dims[axis]], [left[-1]]):
            left.pop()
        elif dims[axis] == 1:
            ones.append(axis)
        else:
            return None, []
    if left:
        return None, []
    ones += [place for place in range(axis) if dims[place] == 1]
    return sorted(ones), [dim for dim in dims[:axis] if dim != 1]


def _places(reader: ir.Node, flat: Dims, batch: Dims) -> list[int] | None:
    """Axes of one in what a Reshape makes of the product ``flat``; None if it is not its axes."""
    made = reader.outputs[0].shape if is_onnx(reader, "Reshape") else None
    if made is None:
        return None
    ones, found = _parted(list(made), flat[1:])
    return ones if ones is not None and same_dims(found, batch) else None


def _whole(model: Model, graph: ir.Graph, node: ir.Node, operand: _Operand) -> ir.Value | None:
    """``operand`` with all axes of its batch and no axes of one between them."""
    value = _with_axes(model, graph, node, "Squeeze", operand.source, operand.ones)
    if value is None or not operand.swapped:
        return value
    count = len(operand.batch)
    order = [*range(count), count + 1, count]
    made = _made(graph, node, "Transpose", [value], perm=order)
    if value.shape is not None:
        made.shape = ir.Shape([value.shape[axis] for axis in order])
    return made


def _with_axes(
    model: Model, graph: ir.Graph, node: ir.Node, kind: str, value: ir.Value, axes: list[int]
) -> ir.Value | None:
    """``value`` with ``axes`` squeezed out or in, before ``node``."""
    if not axes:
        return value
    stem = f"{node.outputs[0].name}_{value.name}_{kind}".lower()
    held = constant(model, graph, f"{stem}_axes", np.array(axes, np.int64))
    if held is None:
        return None
    made = _made(graph, node, kind, [value, held])
    if value.shape is not None:
        dims: Dims = list(value.shape)
        if kind == "Squeeze":
            dims = [dim for axis, dim in enumerate(dims) if axis not in axes]
        else:
            for axis in axes:
                dims.insert(axis, 1)
        made.shape = ir.Shape(dims)
    return made


def _made(
    graph: ir.Graph, node: ir.Node, kind: str, inputs: list[ir.Value | None], **attributes: Any
) -> ir.Value:
    """A node before ``node``, of the type of its result."""
    made = Maker(graph, node).make(kind, inputs, **attributes)
    made.type = node.outputs[0].type
    return made
