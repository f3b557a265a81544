"""Take a tensor itself where a GatherND reads, or a ScatterND writes, all places in order."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, const_of, fresh_name
from modelkit.model.dims import Dim
from modelkit.model.walk import nested
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import dim_of, elements_of
from modelkit.passes.surgery import attribute, bypass, ints, is_onnx, rank, same_dims
from modelkit.passes.symbols.contents import product

_SPREAD = ("Unsqueeze", "Expand", "Reshape")
_OLDEST = 13  # Unsqueeze takes its axes as an input


def read_whole(model: Model) -> Changes:
    """Replace a GatherND whose indices count every axis from 0 to its length by an Unsqueeze.

    Exporters of vectorized masks write ``mask[batch, token]`` with ranges for both, expanded and
    concatenated.  A ScatterND with such indices, which exporters write for ``x[:, :, a:] = y`` with
    a = 0, gives what it writes.  Exact; the lengths of the ranges must be known to be those of the
    axes.
    """
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    count = 0
    if opset >= _OLDEST:
        for graph in list(nested(model.graph)):
            for node in graph:
                if is_onnx(node, "GatherND") and not attribute(node, "batch_dims", 0):
                    count += _read(graph, node)
                elif is_onnx(node, "Gather"):
                    count += _read_flat(graph, node)
                elif is_onnx(node, "ScatterND") and attribute(node, "reduction", "none") == "none":
                    count += _written(node)
    return Changes(count)


def _read(graph: ir.Graph, node: ir.Node) -> bool:
    data, indices, places = node.inputs[0], node.inputs[1], _places(node)
    if places is None or data is None or data.shape is None or indices is None:
        return False
    assert indices.shape is not None
    indexed = list(indices.shape)[:-1]
    shape = [*indexed, *list(data.shape)[len(places) :]]
    return _unsqueezed(graph, node, data, shape, [*places, *range(len(indexed), len(shape))])


def _read_flat(graph: ir.Graph, node: ir.Node) -> bool:
    """A Gather of all rows of what was flattened, in order."""
    flat, indices = node.inputs[:2]
    maker = None if flat is None else flat.producer()
    if flat is None or indices is None or maker is None or attribute(node, "axis", 0):
        return False
    source = maker.inputs[0]
    if not is_onnx(maker, "Flatten", "Reshape") or source is None or source.shape is None:
        return False
    terms = _linear(indices)
    if not terms or flat.shape is None or indices.shape is None:
        return False
    terms.sort(key=lambda term: term[1])
    counted, rest = list(source.shape)[: len(terms)], list(source.shape)[len(terms) :]
    left = list(flat.shape)[1:]
    if len(counted) < len(terms) or not (same_dims(left, rest) or same_dims(left, [*rest, 1])):
        return False
    dims = [dim_of(dim) for dim in counted]
    for place, (length, _, stride) in enumerate(terms):
        if not same_dims([length], [counted[place]]) or product(tuple(dims[place + 1 :])) != stride:
            return False
    shape = [*list(indices.shape), *left]
    behind = range(len(indices.shape), len(indices.shape) + len(rest))
    return _unsqueezed(graph, node, source, shape, [*(axis for _, axis, _ in terms), *behind])


def _linear(value: ir.Value | None) -> list[tuple[int | ir.SymbolicDim, int, Dim]] | None:
    """Ranges that ``value`` is the sum of: their lengths, their axes in it, and their strides."""
    node = None if value is None else value.producer()
    if value is None or node is None:
        return None
    if is_onnx(node, "Add"):
        parts = [_linear(part) for part in node.inputs]
        widths = [rank(part) for part in node.inputs]
        if any(part is None for part in parts) or {*widths} != {rank(value)}:
            return None
        return [term for part in parts for term in part or ()]
    if is_onnx(node, "Mul"):
        for place in (0, 1):
            counted, stride = _counted(node.inputs[place]), _number(node.inputs[1 - place])
            if (
                counted is not None
                and stride is not None
                and rank(node.inputs[place]) == rank(value)
            ):
                return [(*counted, stride)]
        return None
    counted = _counted(value)
    return None if counted is None else [(*counted, 1)]


def _number(value: ir.Value | None) -> Dim | None:
    """The only element of ``value``, where known."""
    items = elements_of(value)
    return items[0] if items is not None and len(items) == 1 else None


def _unsqueezed(
    graph: ir.Graph,
    node: ir.Node,
    data: ir.Value,
    shape: Sequence[int | ir.SymbolicDim],
    places: Sequence[int],
) -> bool:
    """Put ``data``, its axes at ``places`` of ``shape``, in place of what ``node`` makes."""
    added = [axis for axis in range(len(shape)) if axis not in places]
    if list(places) != sorted(set(places)) or any(shape[axis] != 1 for axis in added):
        return False
    if added:
        axes = add_constant(graph, f"{node.outputs[0].name}_axes", np.array(added, np.int64))
        made = ir.node("Unsqueeze", [data, axes], name=node.name)
    else:
        made = ir.node("Identity", [data], name=node.name)
    value = made.outputs[0]
    value.name = fresh_name(graph, f"{node.outputs[0].name}_whole")
    value.type = node.outputs[0].type or data.type
    value.shape = ir.Shape(shape)
    graph.insert_before(node, made)
    return bypass(node, value)


def _written(node: ir.Node) -> bool:
    updates, places = node.inputs[2], _places(node)
    if updates is None or places is None or places != list(range(len(places))):
        return False
    return bypass(node, updates)


def _places(node: ir.Node) -> list[int] | None:
    """For each axis of the data that is indexed, the axis of the indices that counts it.

    An axis of one place may be written by any index that is 0 everywhere.
    """
    data, indices = node.inputs[0], node.inputs[1]
    joined = None if indices is None else indices.producer()
    width = rank(indices)
    if data is None or data.shape is None or joined is None or width is None:
        return None
    if not is_onnx(joined, "Concat") or int(attribute(joined, "axis", 0)) % width != width - 1:
        return None
    if len(joined.inputs) > len(data.shape):
        return None
    found = []
    for place, part in enumerate(joined.inputs):
        if is_onnx(node, "ScatterND") and data.shape[place] == 1 and _is_zero(part):
            found.append(place)
            continue
        counted = _counted(part)
        if counted is None or not same_dims([counted[0]], [data.shape[place]]):
            return None
        if counted[1] == width - 1 or part is None or part.shape is None or part.shape[-1] != 1:
            return None
        found.append(counted[1])
    return found


def _counted(value: ir.Value | None) -> tuple[int | ir.SymbolicDim, int] | None:
    """The length of a range from 0 in steps of 1, and the only axis along which it varies."""
    node = None if value is None else value.producer()
    if value is not None and value.const_value is not None:
        return _counted_constant(value)
    if value is None or node is None:
        return None
    if is_onnx(node, "Range"):
        start, _, step = (None if each is None else const_of(each) for each in node.inputs)
        if start is None or step is None or start != 0 or step != 1 or value.shape is None:
            return None
        return value.shape[0], 0
    if not is_onnx(node, *_SPREAD):
        return None
    inner, low, high = _counted(node.inputs[0]), rank(node.inputs[0]), rank(value)
    if inner is None or low is None or high is None:
        return None
    length, axis = inner
    if is_onnx(node, "Reshape"):
        wide = [place for place in range(high) if value.shape and value.shape[place] != 1]
        return (length, wide[0]) if len(wide) == 1 and _same_at(value, wide[0], length) else None
    if is_onnx(node, "Expand"):
        axis += high - low
        # A range of one place may be repeated along its own axis.
        return (length, axis) if _same_at(value, axis, length) else None
    axes = ints(node, 1, "axes")
    if axes is None:
        return None
    made = {each % high for each in axes}
    return length, [each for each in range(high) if each not in made][axis]


def _is_zero(value: ir.Value | None) -> bool:
    while value is not None and (node := value.producer()) is not None and is_onnx(node, *_SPREAD):
        value = node.inputs[0]
    array = const_of(value)
    return array is not None and not array.any()


def _counted_constant(value: ir.Value) -> tuple[int, int] | None:
    array = const_of(value)
    axes = [] if array is None else [axis for axis, size in enumerate(array.shape) if size != 1]
    if array is None or not array.ndim or len(axes) > 1:
        return None
    axis = axes[0] if axes else array.ndim - 1
    length = array.shape[axis]
    return (length, axis) if np.array_equal(array.reshape(-1), np.arange(length)) else None


def _same_at(value: ir.Value, axis: int, length: int | ir.SymbolicDim) -> bool:
    return value.shape is not None and same_dims([value.shape[axis]], [length])
