"""Transpose at full rank what was flattened only to be transposed."""

from collections.abc import Sequence

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import attribute, bypass, is_onnx, same_dims


def restore_batch_axes(model: Model) -> Changes:
    """Replace Reshape, Transpose of the last two axes, Reshape by one Transpose.

    Exporters flatten the leading axes to three in all, [batch*heads, sequence, width], swap the
    last two and split the first again.  Exact; the shapes of all steps must be known.
    """
    count = 0
    for graph in list(graphs(model)):
        for last in graph:
            if is_onnx(last, "Reshape"):
                count += _restored(graph, last)
    return Changes(count)


def _restored(graph: ir.Graph, last: ir.Node) -> bool:
    middle = _maker(last, "Transpose")
    first = None if middle is None else _maker(middle, "Reshape")
    source = None if first is None else first.inputs[0]
    if middle is None or first is None or source is None or source.shape is None:
        return False
    flat, result = first.outputs[0].shape, last.outputs[0].shape
    if flat is None or result is None or len(flat) != 3 or len(source.shape) < 3:
        return False
    whole = list(source.shape)
    swapped = [*whole[:-2], whole[-1], whole[-2]]
    if list(attribute(middle, "perm", ())) != [0, 2, 1]:
        return False
    if not same_dims(list(flat)[1:], whole[-2:]) or not same_dims(list(result), swapped):
        return False
    order = [*range(len(whole) - 2), len(whole) - 1, len(whole) - 2]
    return _replaced(graph, last, source, order)


def _replaced(graph: ir.Graph, last: ir.Node, source: ir.Value, order: Sequence[int]) -> bool:
    swap = ir.node("Transpose", [source], {"perm": list(order)}, name=last.name)
    value = swap.outputs[0]
    old = last.outputs[0]
    value.name = f"{old.name}_swapped"
    value.type, value.shape = old.type, old.shape
    graph.insert_before(last, swap)
    return bypass(last, value)


def _maker(node: ir.Node, kind: str) -> ir.Node | None:
    value = node.inputs[0]
    found = None if value is None else value.producer()
    return found if found is not None and is_onnx(found, kind) else None
