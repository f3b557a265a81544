"""Merge neighbouring Concats, and drop what adds nothing to one."""

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import attribute, bypass, is_onnx, rank, same_shape


def merge_concats(model: Model) -> Changes:
    """Put the parts of an inner Concat into the outer, and drop empty parts.

    Also removes the Concat of all parts of a Split in their order.  Exact.  An inner Concat that
    others read, or along another axis, stays.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            if is_onnx(node, "Concat"):
                count += _undone(node) or _flattened(node) + _dropped(node)
    return Changes(count)


def _axis(node: ir.Node, value: ir.Value | None) -> int | None:
    axis: int | None = attribute(node, "axis", 0 if node.op_type == "Split" else None)
    length = rank(value)
    if axis is None or axis >= 0:
        return axis
    return None if length is None else axis + length


def _undone(node: ir.Node) -> bool:
    first = node.inputs[0]
    split = None if first is None else first.producer()
    if split is None or not is_onnx(split, "Split") or tuple(node.inputs) != tuple(split.outputs):
        return False
    axis, source = _axis(node, node.outputs[0]), split.inputs[0]
    if axis is None or source is None or axis != _axis(split, source):
        return False
    return bypass(node, source)


def _flattened(node: ir.Node) -> int:
    axis = _axis(node, node.outputs[0])
    parts: list[ir.Value | None] = []
    merged = 0
    for value in node.inputs:
        inner = None if value is None else value.producer()
        if (
            inner is not None
            and value is not None
            and axis is not None
            and is_onnx(inner, "Concat")
            and inner.graph is node.graph
            and len(value.uses()) == 1
            and not value.is_graph_output()
            and _axis(inner, value) == axis
        ):
            parts += inner.inputs
            merged += 1
        else:
            parts.append(value)
    return _given(node, parts) if merged else 0


def _dropped(node: ir.Node) -> int:
    axis, whole = _axis(node, node.outputs[0]), node.outputs[0]
    if axis is None:
        return 0
    kept = [value for value in node.inputs if not _is_empty(value, axis)]
    if len(kept) == len(node.inputs) or not kept:
        return 0
    if len(kept) == 1 and (kept[0] is None or not same_shape(kept[0], whole)):
        return 0
    return _given(node, kept)


def _is_empty(value: ir.Value | None, axis: int) -> bool:
    shape = None if value is None else value.shape
    return shape is not None and axis < len(shape) and shape[axis] == 0


def _given(node: ir.Node, parts: list[ir.Value | None]) -> int:
    node.resize_inputs(len(parts))
    for place, value in enumerate(parts):
        node.replace_input_with(place, value)
    return 1
