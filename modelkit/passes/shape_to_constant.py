"""Replace shape arithmetic whose result does not depend on the inputs."""

import numpy as np
import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import content_of
from modelkit.passes.surgery import constant, drop, is_onnx, replace


def shape_to_constant(model: Model) -> Changes:
    """Make every integer tensor that ``infer_symbols`` knows in full an initializer.

    So Shape of a static axis, and all that is computed from it, disappears; also where other axes
    of the same tensor are dynamic.  Graph outputs stay computed.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            if len(node.outputs) == 1 and not is_onnx(node, "Constant"):
                count += _settle(model, graph, node)
    return Changes(count)


def _settle(model: Model, graph: ir.Graph, node: ir.Node) -> int:
    value = node.outputs[0]
    content = content_of(value)
    if content is None or value.dtype is None or value.is_graph_output() or not value.uses():
        return 0
    integers = content.integers
    if integers is None:
        return 0
    array = np.array(integers, dtype=value.dtype.numpy())
    settled = constant(
        model, graph, f"{value.name}_value", array.reshape(()) if content.scalar else array
    )
    if settled is None or not replace(value, settled):
        return 0
    drop(node)
    return 1
