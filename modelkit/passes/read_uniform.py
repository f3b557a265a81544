"""Take what is the same wherever it is read from one place."""

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of, fresh_name
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import (
    attribute,
    bypass,
    constant,
    is_onnx,
    keep_type,
    replace,
    same_shape,
)
from modelkit.passes.uniform import uniform

_LARGEST = 1 << 22  # elements of a constant that is computed anew


def read_uniform(model: Model) -> Changes:
    """Add one row of a table where all indices are one number, to another table if there is one;
    expand what And with true only repeats.

    Exporters give every token the type 0 and hide nothing by masks of positions; both grow with the
    sequence.  Equal up to rounding.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in list(graph):
            if is_onnx(node, "Gather"):
                count += _add_row(model, graph, node)
            elif is_onnx(node, "And"):
                count += _repeat(graph, node)
    return Changes(count)


def _add_row(model: Model, graph: ir.Graph, node: ir.Node) -> int:
    """Give those who add the rows of ``node`` to as many others the one row instead."""
    table, chosen = node.inputs[0], uniform(node.inputs[1])
    if table is None or chosen is None or attribute(node, "axis", 0) or table.shape is None:
        return 0
    shape = table.shape
    if len(shape) != 2 or not isinstance(shape[0], int) or not -shape[0] <= chosen < shape[0]:
        return 0
    adders = [
        (user, place)
        for user, place in node.outputs[0].uses()
        if is_onnx(user, "Add") and _keeps_shape(user, place)
    ]
    if not adders:
        return 0
    array = const_of(table)
    if array is None:
        return 0
    taken = np.ascontiguousarray(array[int(chosen)])
    left = [pair for pair in adders if not _fold(model, graph, *pair, taken)]
    row = constant(model, graph, f"{table.name}_row", taken) if left else None
    if row is not None:
        for user, place in left:
            user.replace_input_with(place, row)
    return len(adders) if row is not None else len(adders) - len(left)


def _fold(model: Model, graph: ir.Graph, adder: ir.Node, place: int, row: np.ndarray) -> bool:
    """Add ``row`` to the table that a further addition reads, so that ``adder`` can go."""
    made, other = adder.outputs[0], adder.inputs[1 - place]
    readers = [user for user, _ in made.uses()]
    if (
        other is None
        or len(readers) != 1
        or made.is_graph_output()
        or not is_onnx(readers[0], "Add")
    ):
        return False
    for value in readers[0].inputs:
        found = None if value is None or value is made else value.producer()
        if found is None or not is_onnx(found, "Gather") or attribute(found, "axis", 0):
            continue
        table = found.inputs[0]
        if table is None or not _is_small(table) or len(found.outputs[0].uses()) != 1:
            continue
        array = const_of(table)
        if array is None or array.shape[1:] != row.shape or array.dtype != row.dtype:
            continue
        total = constant(model, graph, f"{table.name}_total", array + row)
        if total is None or found.outputs[0].is_graph_output():
            return False
        found.replace_input_with(0, total)
        return bypass(adder, other)
    return False


def _is_small(table: ir.Value) -> bool:
    tensor = table.const_value
    return tensor is not None and tensor.size <= _LARGEST and len(table.uses()) == 1


def _keeps_shape(adder: ir.Node, place: int) -> bool:
    other = adder.inputs[1 - place]
    return other is not None and same_shape(other, adder.outputs[0])


def _repeat(graph: ir.Graph, node: ir.Node) -> int:
    """Turn And into Expand where one side is true everywhere and only adds axes or lengths."""
    for place in (0, 1):
        other, true = node.inputs[place], node.inputs[1 - place]
        if (
            other is None
            or true is None
            or uniform(true) != 1
            or same_shape(other, node.outputs[0])
        ):
            continue
        shape = ir.node("Shape", [true])
        grown = ir.node("Expand", [other, shape.outputs[0]])
        shape.outputs[0].name = fresh_name(graph, f"{node.outputs[0].name}_shape")
        grown.outputs[0].name = fresh_name(graph, f"{node.outputs[0].name}_grown")
        graph.insert_before(node, [shape, grown])
        keep_type(node.outputs[0], grown.outputs[0])
        return int(replace(node.outputs[0], grown.outputs[0]))
    return 0
