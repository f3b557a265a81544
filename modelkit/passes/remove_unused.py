"""Remove what no output depends on."""

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import bodies, inside
from modelkit.passes.changes import Changes


def remove_unused(model: Model) -> Changes:
    """Remove nodes, initializers, functions and opset imports that nothing reads.

    Inputs and outputs of the model stay, used or not; so do those of loop and branch bodies.
    """
    count = _clean(model.graph)
    for function in model.functions.values():
        count += _clean(function.graph)
    count += _drop_functions(model)
    _drop_opsets(model)
    return Changes(count)


def _clean(graph: ir.Graph) -> int:
    outputs = set(graph.outputs)
    count = 0
    for node in reversed(graph):
        if any(value in outputs or value.uses() for value in node.outputs):
            count += sum(_clean(body) for body in bodies(node))
        else:
            _detach(node)
            graph.remove(node, safe=True)
            count += 1
    inputs = set(graph.inputs)
    for value in list(graph.initializers.values()):
        if not value.uses() and value not in outputs and value not in inputs:
            assert value.name is not None
            del graph.initializers[value.name]
            count += 1
    return count


def _detach(node: ir.Node) -> None:
    """Let the bodies of a dying node stop reading values from outside."""
    for body in bodies(node):
        for inner in inside(body):
            for place in range(len(inner.inputs)):
                inner.replace_input_with(place, None)


def _drop_functions(model: Model) -> int:
    used: set[ir.OperatorIdentifier] = set()
    waiting = [model.graph]
    while waiting:
        for node in inside(waiting.pop()):
            key = node.op_identifier()
            if key in model.functions and key not in used:
                used.add(key)
                waiting.append(model.functions[key].graph)
    unused = [key for key in model.functions if key not in used]
    for key in unused:
        del model.functions[key]
    return len(unused)


def _drop_opsets(model: Model) -> None:
    domains = {node.domain for node in inside(model.graph)} | {"", "ai.onnx"}
    for function in model.functions.values():
        domains |= {function.domain, *(node.domain for node in inside(function))}
    for domain in [key for key in model.opset_imports if key not in domains]:
        del model.opset_imports[domain]
