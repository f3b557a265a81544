"""Give Reshape a constant shape where its dims are copies of the input's dims."""

import numpy as np
import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.dims import Dim, Symbolic
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import content_of, dim_of, elements_of
from modelkit.passes.surgery import attribute, constant, is_onnx


def settle_reshapes(model: Model) -> Changes:
    """Replace computed shapes, as [batch, sequence, 12, 64], by constants, as [0, 0, 12, 64].

    0 copies the input's dim at the same place, -1 stands for at most one dim that cannot be copied.
    Beside an axis of length 0 a runtime cannot infer -1; it is written only where no axis can be
    empty, or where the model infers the lengths of the same axes elsewhere and so fails anyway.
    """
    count = 0
    filled = _filled(model.graph)
    for graph in list(graphs(model)):
        for node in graph:
            if is_onnx(node, "Reshape") and len(node.inputs) == 2:
                count += _settle(model, graph, node, filled)
    return Changes(count)


def _filled(graph: ir.Graph) -> set[str]:
    """Names of dims that are never 0 in a run that succeeds."""
    names: set[str] = set()
    for node in graph:
        if not is_onnx(node, "Reshape") or len(node.inputs) != 2:
            continue
        content, data = elements_of(node.inputs[1]), node.inputs[0]
        if content is not None and -1 in content and data is not None and data.shape is not None:
            for dim in data.shape:
                names |= _names(dim_of(dim)) or set()
    return names


def _names(dim: Dim | None) -> set[str] | None:
    """The names a product is made of, which are not 0 when it is not; None for anything else."""
    if isinstance(dim, Symbolic) and len(dim.terms) == 1:
        return set(dim.terms[0][0])
    return set() if isinstance(dim, int) and dim else None


def _settle(model: Model, graph: ir.Graph, node: ir.Node, filled: set[str]) -> int:
    data, target = node.inputs
    if data is None or target is None or data.shape is None or target.producer() is None:
        return 0
    content = content_of(target)
    if content is None or (attribute(node, "allowzero", 0) and 0 in content.items):
        return 0
    spelled = _spelled(content.items, data.shape, node.outputs[0].shape, filled)
    if spelled is None:
        return 0
    array = np.array(spelled, dtype=np.int64)
    settled = constant(model, graph, f"{target.name}_settled", array)
    if settled is None:
        return 0
    node.attributes.pop("allowzero", None)
    node.replace_input_with(1, settled)
    return 1


def _spelled(
    items: tuple[Dim | None, ...], source: ir.Shape, result: ir.Shape | None, filled: set[str]
) -> list[int] | None:
    spelled: list[int] = []
    inferable = -1 in items
    for place, item in enumerate(items):
        if item == -1 and result is not None and len(result) == len(items):
            # What -1 came to was computed from the shapes on both sides.
            found = dim_of(result[place])
        else:
            found = item
        if isinstance(found, int):
            spelled.append(found)
        elif found is not None and place < len(source) and dim_of(source[place]) == found:
            spelled.append(0)
        else:
            spelled.append(-1)
    if spelled.count(-1) > 1:
        return None
    if -1 in spelled and not inferable:
        dims = [_names(dim_of(dim)) for dim in source]
        if any(names is None or not names <= filled for names in dims):
            return None
    return spelled
