"""Leave out axes of one that are put in only to be taken out again."""

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, fresh_name
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import attribute, axes_of, bypass, constant, ints, is_onnx, rank


def drop_unit_axes(model: Model) -> Changes:
    """Merge Squeeze or Reshape with the Unsqueeze before a Transpose, and Squeeze with Reshape.

    Exact: axes of one have no data of their own.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            if not is_onnx(node, "Squeeze", "Reshape") or node.inputs[0] is None:
                continue
            maker = node.inputs[0].producer()
            if maker is None:
                continue
            if is_onnx(maker, "Transpose"):
                count += _moved(graph, node, maker)
            elif is_onnx(maker, "Reshape") and is_onnx(node, "Squeeze"):
                count += _reshaped(model, graph, node, maker)
    return Changes(count)


def _moved(graph: ir.Graph, node: ir.Node, move: ir.Node) -> bool:
    """Squeeze or Reshape of Transpose(Unsqueeze(x)), by a Transpose of x."""
    value, order = move.inputs[0], attribute(move, "perm")
    first = None if value is None else value.producer()
    if first is None or order is None or not is_onnx(first, "Unsqueeze"):
        return False
    if len(move.outputs[0].uses()) > 1:
        return False
    put, source = axes_of(first, len(order)), first.inputs[0]
    if source is None or not put:
        return False
    moved = [axis for axis in range(len(order)) if order[axis] in put]
    kept = [axis for axis in range(len(order)) if axis not in put]
    perm = [kept.index(axis) for axis in order if axis not in put]
    name = fresh_name(graph, f"{node.outputs[0].name}_moved")
    short = ir.node("Transpose", [source], {"perm": perm}, name=name)
    if is_onnx(node, "Squeeze"):
        return axes_of(node, len(order)) == moved and _put(graph, node, short)
    target = ints(node, 1, "shape")
    if target is None or 0 in target[moved[0] :]:  # zeros copy the length of an axis by its place
        return False
    old = move.outputs[0]
    short.outputs[0].name = name
    short.outputs[0].type = old.type
    if old.shape is not None:
        dims = [dim for axis, dim in enumerate(old.shape) if axis not in moved]
        short.outputs[0].shape = ir.Shape(dims)
    graph.insert_before(node, short)
    node.replace_input_with(0, short.outputs[0])
    return True


def _reshaped(model: Model, graph: ir.Graph, node: ir.Node, first: ir.Node) -> bool:
    """Squeeze(Reshape(x)) as a Reshape of x, whose zeros stay at their places."""
    target, source = ints(first, 1, "shape"), first.inputs[0]
    taken = None if target is None else axes_of(node, len(target))
    if target is None or not taken or source is None or rank(first.outputs[0]) is None:
        return False
    if any(target[axis] != 1 for axis in taken) or 0 in target[taken[0] :]:
        return False
    left = [size for axis, size in enumerate(target) if axis not in taken]
    name = f"{node.outputs[0].name}_target"
    held = constant(model, graph, name, np.array(left, np.int64))
    if held is None:
        return False
    said = {"allowzero": 1} if attribute(first, "allowzero", 0) else {}
    return _put(graph, node, ir.node("Reshape", [source, held], said, name=node.name))


def _put(graph: ir.Graph, node: ir.Node, made: ir.Node) -> bool:
    """Let ``made`` stand for ``node``."""
    old, new = node.outputs[0], made.outputs[0]
    new.name = fresh_name(graph, f"{old.name}_whole")
    new.type, new.shape = old.type, old.shape
    graph.insert_before(node, made)
    return bypass(node, new)
