"""Keep only the branch of an If that is taken."""

import onnx_ir as ir

from modelkit.model import Model, const_of, fresh_name
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import attribute, drop, is_onnx, replace


def remove_dead_branches(model: Model) -> Changes:
    """Put the taken branch of each If with a constant condition in its place.

    Values of the branch get names unique in the model.  Branch outputs keep the If's names where
    those are outputs of the graph.  An If inside a function whose branch has weights stays.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            if is_onnx(node, "If"):
                condition = const_of(node.inputs[0])
                if condition is not None and condition.size == 1:
                    count += _unfold(model, graph, node, bool(condition.reshape(-1)[0]))
    return Changes(count)


def _unfold(model: Model, graph: ir.Graph, node: ir.Node, taken: bool) -> bool:
    branch: ir.Graph | None = attribute(node, "then_branch" if taken else "else_branch")
    inside = any(graph is function.graph for function in model.functions.values())
    if branch is None or (inside and branch.initializers):
        return False
    _move_weights(branch, graph, model.graph)
    results = list(branch.outputs)
    branch.outputs.clear()
    for inner in list(branch):
        branch.remove(inner)
        for value in inner.outputs:
            if value.name:
                value.name = fresh_name(model.graph, value.name)
        graph.insert_before(node, inner)
    for old, new in zip(node.outputs, results, strict=True):
        if not replace(old, new):
            _copy(node, old, new)
    drop(node)
    return True


def _move_weights(branch: ir.Graph, graph: ir.Graph, root: ir.Graph) -> None:
    for value in list(branch.initializers.values()):
        assert value.name is not None
        del branch.initializers[value.name]
        value.name = fresh_name(root, value.name)
        graph.register_initializer(value)


def _copy(node: ir.Node, old: ir.Value, new: ir.Value) -> None:
    """Let an Identity make the graph output that ``new`` cannot be itself."""
    graph = node.graph
    assert graph is not None
    name, old.name = old.name, None
    copy = ir.node("Identity", [new])
    value = copy.outputs[0]
    value.name, value.type, value.shape = name, old.type, old.shape
    graph.insert_before(node, copy)
    old.replace_all_uses_with(value, replace_graph_outputs=True)
