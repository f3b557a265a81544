"""Give Reshape a constant shape where its dims are copies of the input's dims."""

import numpy as np
import onnx_ir as ir

from modelkit.model import Model
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import content_of
from modelkit.passes.surgery import attribute, constant, graphs, is_onnx
from modelkit.passes.symbols.dims import Dim, parse


def settle_reshapes(model: Model) -> Changes:
    """Replace computed shapes, as [batch, sequence, 12, 64], by constants, as [0, 0, 12, 64].

    0 copies the input's dim at the same place, -1 stands for at most one dim that cannot be copied.
    Equal for every input without an axis of length 0, next to which -1 cannot be inferred.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            if is_onnx(node, "Reshape") and len(node.inputs) == 2:
                count += _settle(model, graph, node)
    return Changes(count)


def _settle(model: Model, graph: ir.Graph, node: ir.Node) -> int:
    data, target = node.inputs
    if data is None or target is None or data.shape is None or target.producer() is None:
        return 0
    content = content_of(target)
    if content is None or (attribute(node, "allowzero", 0) and 0 in content.items):
        return 0
    spelled = _spelled(content.items, data.shape, node.outputs[0].shape)
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
    items: tuple[Dim | None, ...], source: ir.Shape, result: ir.Shape | None
) -> list[int] | None:
    spelled: list[int] = []
    for place, item in enumerate(items):
        if item == -1 and result is not None and len(result) == len(items):
            # What -1 came to was computed from the shapes on both sides.
            found = _dim(result[place])
        else:
            found = item
        if isinstance(found, int):
            spelled.append(found)
        elif found is not None and place < len(source) and _dim(source[place]) == found:
            spelled.append(0)
        else:
            spelled.append(-1)
    return spelled if spelled.count(-1) <= 1 else None


def _dim(dim: int | ir.SymbolicDim) -> Dim | None:
    if isinstance(dim, int):
        return dim
    return parse(dim.value) if dim.value else None
