"""Cut a part out of a model."""

from collections.abc import Sequence

import onnx_ir as ir

from modelkit.errors import BadInput
from modelkit.model import Model, clone
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.remove_unused import remove_unused
from modelkit.safe import safe


def cut(model: Model, inputs: Sequence[str], outputs: Sequence[str]) -> Model:
    """The part of ``model`` that computes ``outputs`` from ``inputs``; ``model`` stays as it is.

    All are values of the main graph.  Inputs of the model that the part still needs stay inputs,
    others go.

    Raises:
        BadInput: the type of an input is not known.
    """
    part = clone(model)
    infer_symbols(part)
    values = values_of(part.graph)
    declared = {value.name: value for value in part.graph.inputs}
    part.graph.outputs.clear()
    part.graph.outputs.extend(values[name] for name in outputs)
    made: list[ir.Value] = []
    for name in inputs:
        old = values[name]
        if name in declared:
            continue
        if old.type is None:
            raise BadInput(f"the element type of '{safe(name)}' is not known")
        old.name = f"{name}_inside"
        new = ir.Value(name=name, type=old.type, shape=old.shape)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        made.append(new)
    remove_unused(part)
    kept = [value for value in part.graph.inputs if value.uses() or value.is_graph_output()]
    part.graph.inputs.clear()
    part.graph.inputs.extend([*made, *kept])
    part.graph.meta.pop("modelkit.names", None)
    return part


def values_of(graph: ir.Graph) -> dict[str, ir.Value]:
    """The inputs and computed values of a graph by name, in graph order."""
    found = {str(value.name): value for value in graph.inputs}
    for node in graph:
        found.update({str(value.name): value for value in node.outputs if value.name})
    return found
