"""Turn Constant nodes into initializers."""

import numpy as np
import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import drop, initializer, is_onnx, replace


def lift_constants(model: Model) -> Changes:
    """Make every numeric Constant node, also of bodies, an initializer of the main graph.

    Those that are an output, hold strings or a sparse tensor, or stand in a function stay.
    """
    inside = {id(function.graph) for function in model.functions.values()}
    count = 0
    for graph in list(graphs(model)):
        if id(graph) in inside:
            continue
        for node in graph:
            if is_onnx(node, "Constant") and _lift(node, model.graph):
                count += 1
    return Changes(count)


def _lift(node: ir.Node, target: ir.Graph) -> bool:
    value = node.outputs[0]
    tensor = ir.convenience.get_const_tensor(value)
    if value.is_graph_output() or tensor is None or tensor.dtype is ir.DataType.STRING:
        return False
    if "value" not in node.attributes:
        tensor = ir.tensor(np.asarray(tensor.numpy()))
    lifted = initializer(target, f"{value.name}_value", tensor)
    replace(value, lifted)
    drop(node)
    return True
