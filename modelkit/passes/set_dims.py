"""Fix named axes to a length, or give fixed ones a name."""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.surgery import attribute, constant, is_onnx

MAX_ROUNDS = 8


def fix_dims(model: Model, lengths: Mapping[str, int]) -> Changes:
    """Let every axis called by a key of ``lengths`` have that length, wherever it stands."""
    count = 0
    for value in _values(model):
        if value.shape is None:
            continue
        dims = [_fixed(dim, lengths) for dim in value.shape]
        if dims != list(value.shape):
            value.shape = ir.Shape(dims)
            count += 1
    return Changes(count)


def free_dims(model: Model, names: Mapping[tuple[str, int], str]) -> Changes:
    """Name axes of inputs, given by input and axis, and let the shapes behind them follow.

    What the file says of inner values and outputs is forgotten and inferred again.  A Reshape to
    the old length at the same place copies the axis instead.  Other constants that hold the old
    length stay: the caller must prove that the model runs at other lengths.
    """
    old: dict[str, int] = {}
    for value in model.graph.inputs:
        assert value.shape is not None or not any(key[0] == value.name for key in names)
        dims = list(value.shape or ())
        for axis, dim in enumerate(dims):
            word = names.get((str(value.name), axis))
            if word is not None:
                old[word] = dim if isinstance(dim, int) else 0
                dims[axis] = ir.SymbolicDim(word)
        value.shape = None if value.shape is None else ir.Shape(dims)
    count = len(names)
    for _ in range(MAX_ROUNDS):
        _forget(model)
        changed = _copied_axes(model, old)
        count += changed
        if not changed:
            break
    return Changes(count)


def _fixed(dim: int | ir.SymbolicDim, lengths: Mapping[str, int]) -> int | ir.SymbolicDim:
    if isinstance(dim, int) or dim.value is None:
        return dim
    return lengths.get(dim.value, dim)


def _values(model: Model) -> Iterator[ir.Value]:
    for graph in graphs(model):
        yield from graph.inputs
        for node in graph:
            yield from node.outputs


def _forget(model: Model) -> None:
    """Infer all shapes but the inputs' anew, those of the outputs too."""
    outputs = list(model.graph.outputs)
    model.graph.outputs.clear()  # what is declared of an output is never changed
    for graph in graphs(model):
        for node in graph:
            for value in node.outputs:
                value.shape = None
    infer_symbols(model)
    model.graph.outputs.extend(outputs)


def _copied_axes(model: Model, old: Mapping[str, int]) -> int:
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            if is_onnx(node, "Reshape") and not attribute(node, "allowzero", 0):
                count += _copied(model, graph, node, old)
    return count


def _copied(model: Model, graph: ir.Graph, node: ir.Node, old: Mapping[str, int]) -> int:
    data, target = node.inputs
    array = const_of(target)
    if data is None or data.shape is None or array is None or target is None:
        return 0
    items = array.reshape(-1).copy()
    for place, dim in enumerate(list(data.shape)[: len(items)]):
        if not isinstance(dim, int) and items[place] == old.get(dim.value or ""):
            items[place] = 0
    if np.array_equal(items, array.reshape(-1)):
        return 0
    settled = constant(model, graph, f"{target.name}_free", items)
    if settled is None:
        return 0
    node.replace_input_with(1, settled)
    return 1
