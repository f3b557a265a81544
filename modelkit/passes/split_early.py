"""Split a flattened batch before what is computed alike for every row, not behind it."""

from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.maker import Maker
from modelkit.passes.split_batches import operand_of
from modelkit.passes.surgery import attribute, bypass, constant, drop, is_onnx, rank, same_dims

_BY_ELEMENT = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Where")
_ALIKE = (*_BY_ELEMENT, "Softmax")
_OLDEST = 15  # from here on Shape has a start, and Softmax one axis
_DEEPEST = 8


def split_early(model: Model) -> Changes:
    """Move a Reshape of scores [batch*heads, rows, width] up, to the product that made them.

    Masks and Softmax then stand on [batch, heads, rows, width], where attention is looked for, and
    :mod:`split_batches` takes the Reshape away.  torch's ``baddbmm`` is written so, and what old
    versions of transformers do.  Exact; all shapes must be known.
    """
    count = 0
    if model.opset_imports.get("", 0) < _OLDEST:
        return Changes(0)
    for graph in list(graphs(model)):
        for node in list(graph):
            if is_onnx(node, "Reshape"):
                count += _moved(model, graph, node)
    return Changes(count)


def _moved(model: Model, graph: ir.Graph, node: ir.Node) -> bool:
    flat, made = node.inputs[0], node.outputs[0]
    maker = None if flat is None else flat.producer()
    if flat is None or maker is None or maker.graph is not graph or not is_onnx(maker, *_ALIKE):
        return False
    if len(flat.uses()) != 1 or flat.is_graph_output() or made.is_graph_output():
        return False
    if not _splits(node) or not _comes_from_batches(flat, _DEEPEST):
        return False
    operands = [value for value in maker.inputs if value is not None]
    if len(operands) < len(maker.inputs) or not all(_may_split(each, flat) for each in operands):
        return False
    if all(_stays(each, flat) for each in operands):
        return False
    sources = [_split(model, graph, node, each) for each in operands]
    if None in sources:
        return False
    options: dict[str, Any] = {"axis": -1} if maker.op_type == "Softmax" else {}
    if not bypass(node, Maker(graph, node).make(maker.op_type, sources, **options)):
        return False
    drop(maker)
    return True


def _splits(node: ir.Node) -> bool:
    """Whether a Reshape only splits the first of three axes."""
    flat, made = node.inputs[0], node.outputs[0]
    if rank(flat) != 3 or (rank(made) or 0) < 4 or node.inputs[1] is None:
        return False
    assert flat is not None
    assert flat.shape is not None
    assert made.shape is not None
    shape = const_of(node.inputs[1])
    # A 0 copies a length of ``flat``, which other operands need not have.
    copies = shape is not None and (shape.reshape(-1)[1:-2] == 0).any()
    return not copies and same_dims(list(flat.shape)[1:], list(made.shape)[-2:])


def _comes_from_batches(value: ir.Value, depth: int) -> bool:
    """Whether ``value`` [batch*heads, rows, width] is made of a product of flattened batches."""
    maker = value.producer()
    if maker is None or not depth:
        return False
    if is_onnx(maker, "MatMul"):
        return all(each is not None and operand_of(each) is not None for each in maker.inputs)
    if is_onnx(maker, "Reshape"):
        source = maker.inputs[0]
        if source is None or source.shape is None or len(source.shape) < 4 or rank(value) != 3:
            return False
        assert value.shape is not None
        return same_dims(list(source.shape)[-2:], list(value.shape)[1:])
    if maker.op_type == "Softmax" and attribute(maker, "axis", -1) not in (-1, 2):
        return False
    return is_onnx(maker, *_ALIKE) and any(
        each is not None and rank(each) == 3 and _comes_from_batches(each, depth - 1)
        for each in maker.inputs
    )


def _may_split(value: ir.Value, flat: ir.Value) -> bool:
    if value.shape is None or flat.shape is None:
        return False
    if _stays(value, flat):
        return True
    return len(value.shape) == 3 and same_dims(list(value.shape)[:1], list(flat.shape)[:1])


def _stays(value: ir.Value, flat: ir.Value) -> bool:
    """Whether ``value`` is the same for the whole batch, so that it needs no axes of it."""
    assert value.shape is not None
    assert flat.shape is not None
    if same_dims(list(value.shape), list(flat.shape)):  # a batch of one
        return False
    return len(value.shape) < 3 or (len(value.shape) == 3 and value.shape[0] == 1)


def _split(model: Model, graph: ir.Graph, node: ir.Node, value: ir.Value) -> ir.Value | None:
    """``value`` with the first axes that the Reshape ``node`` makes."""
    flat, made = node.inputs[0], node.outputs[0]
    assert flat is not None
    assert flat.shape is not None
    assert made.shape is not None
    assert value.shape is not None
    if _stays(value, flat):
        return value
    shape = node.inputs[1]
    if not same_dims(list(value.shape), list(flat.shape)):
        shape = _shape_of(model, graph, node, value)
    if shape is None:
        return None
    zero = attribute(node, "allowzero", 0)
    again = Maker(graph, node).make("Reshape", [value, shape], allowzero=zero)
    again.type = value.type
    again.shape = ir.Shape([*list(made.shape)[:-2], *list(value.shape)[1:]])
    return again


def _shape_of(model: Model, graph: ir.Graph, node: ir.Node, value: ir.Value) -> ir.Value | None:
    """A shape for ``value``: the first axes as the Reshape ``node`` makes them, its own last."""
    bounds = [
        constant(model, graph, f"{node.name}_{name}", np.array([number], np.int64))
        for name, number in (("start", 0), ("end", -2))
    ]
    if None in bounds:
        return None
    maker = Maker(graph, node)
    first = maker.make("Slice", [node.inputs[1], *bounds])
    last = maker.make("Shape", [value], start=1)
    whole = maker.make("Concat", [first, last], axis=0)
    for each in (first, last, whole):
        each.type = ir.TensorType(ir.DataType.INT64)
    return whole
