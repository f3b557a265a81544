"""Put a convolution where a function stands for it."""

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import inside
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import drop
from modelkit.rewrite.winograd import WITH_RELU, functions_written


def restore_convolutions(model: Model) -> Changes:
    """Turn calls of Winograd's functions back into the Conv, and Relu, that they were made from.

    So that whoever changes a model next sees what is computed.  A function of such a name that
    computes anything else is left as it is.
    """
    written = functions_written(model)
    calls = [node for node in inside(model.graph) if node.op_identifier() in written]
    for node in calls:
        _restore(node)
    for key in written:
        del model.functions[key]
    return Changes(len(calls))


def _restore(node: ir.Node) -> None:
    shape = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    added = [ir.node("Conv", node.inputs[:3], shape, name=node.name)]
    value, graph = node.outputs[0], node.graph
    if node.op_type in WITH_RELU:
        added[0].outputs[0].name = f"{value.name}_conv"
        added.append(ir.node("Relu", added[0].outputs, name=f"{node.name}_relu"))
    assert graph is not None
    made, heights = added[-1].outputs[0], node.inputs[3:]
    ir.convenience.replace_nodes_and_values(graph, node, [node], added, [value], [made])
    for height in heights:
        _forget(height)


def _forget(value: ir.Value | None) -> None:
    """Remove what computes ``value`` for nobody."""
    node = None if value is None else value.producer()
    if node is None or any(each.uses() or each.is_graph_output() for each in node.outputs):
        return
    read = tuple(node.inputs)
    drop(node)
    for each in read:
        _forget(each)
