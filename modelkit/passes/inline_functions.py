"""Put the body of each local function where it is called."""

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from modelkit.model import Model
from modelkit.model.walk import bodies, graphs
from modelkit.passes.changes import Changes
from modelkit.rewrite.winograd import functions_written
from modelkit.safe import safe


def inline_functions(model: Model) -> Changes:
    """Replace every call of a local function by its nodes; values and nodes get unique names.

    How far the calls expand was limited when the model was loaded.  A function that was written
    for another opset than the model, or that takes a graph as attribute, stays, with all others.
    So do those that fusions write, see :mod:`modelkit.rewrite.winograd`.
    """
    written = {key: model.functions.pop(key) for key in functions_written(model)}
    done = _inlined(model) if model.functions else Changes()
    model.functions.update(written)
    return done


def _inlined(model: Model) -> Changes:
    obstacle = _obstacle(model)
    if obstacle:
        return Changes(0, (f"functions stay: {obstacle}",))
    calls = sum(
        node.op_identifier() in model.functions for graph in graphs(model) for node in graph
    )
    InlinePass()(model)
    _rename_shadows(model)
    model.functions.clear()
    return Changes(calls)


def _obstacle(model: Model) -> str:
    opsets = dict(model.opset_imports)
    for function in model.functions.values():
        name = safe(function.name)
        for domain, version in function.opset_imports.items():
            if opsets.setdefault(domain, version) != version:
                return f"'{name}' is written for another opset of '{safe(domain or 'ai.onnx')}'"
    for graph in graphs(model):
        for node in graph:
            called = model.functions.get(node.op_identifier())
            if called is not None and any(True for _ in bodies(node)):
                return f"'{safe(called.name)}' is given a graph"
            if called is not None and len(node.inputs) > len(called.inputs):
                return f"'{safe(called.name)}' is given too many inputs"
    return ""


def _rename_shadows(model: Model) -> None:
    # Bodies cloned from one function share inner names; each value gets its own.
    taken: set[str] = set()
    for graph in graphs(model):
        for value in (*graph.inputs, *graph.initializers.values()):
            _claim(value, taken)
        for node in graph:
            for value in node.outputs:
                if value.name:
                    _claim(value, taken)


def _claim(value: ir.Value, taken: set[str]) -> None:
    stem, number = value.name or "value", 0
    name = stem
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    if name != value.name:
        value.name = name
    taken.add(name)
