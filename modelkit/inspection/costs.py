"""What a run costs: arithmetic, and the memory of the values alive at once."""

from collections import Counter
from collections.abc import Mapping

import onnx_ir as ir

from modelkit.errors import UsageError
from modelkit.model import Model
from modelkit.model.flops import flops
from modelkit.model.walk import inside
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.inline_functions import inline_functions
from modelkit.passes.restore_convolutions import restore_convolutions
from modelkit.reports import Costs
from modelkit.safe import safe

_USUAL = {"batch": 1, "batch_size": 1, "sequence": 128, "sequence_length": 128, "seq": 128}
_IMAGE = 224


def costs(model: Model, dims: Mapping[str, int]) -> Costs:
    """The costs of ``model`` (changed by this) at ``dims``.

    An axis that has no length there gets 1 if it is the first, 128 if it is a sequence's, 224 if
    it is an image's side, and 1 otherwise.

    Raises:
        UsageError: ``dims`` names no axis of the inputs.
    """
    used = _fix(model, dims)
    restore_convolutions(model)
    inline_functions(model)
    infer_symbols(model)
    by_operator: Counter[str] = Counter()
    unknown = 0
    for node in inside(model.graph):
        shapes = [_lengths(value) for value in node.inputs]
        outs = [_lengths(value) for value in node.outputs]
        equation = node.attributes.get_string("equation") or ""
        by_operator[node.op_type] += flops(node.op_type, shapes, outs, equation)
        unknown += any(found is None and value.uses() for found, value in _pairs(outs, node))
    largest, place = _peak(model)
    total = sum(by_operator.values())
    return Costs(used, total, dict(by_operator.most_common()), largest, place, unknown)


def _pairs(
    shapes: list[tuple[int, ...] | None], node: ir.Node
) -> list[tuple[tuple[int, ...] | None, ir.Value]]:
    return list(zip(shapes, node.outputs, strict=True))


def _fix(model: Model, dims: Mapping[str, int]) -> dict[str, int]:
    """Give every axis of the inputs a length; the lengths by name."""
    used: dict[str, int] = {}
    for value in model.graph.inputs:
        if value.shape is None:
            continue
        lengths: list[int] = []
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, int):
                lengths.append(dim)
                continue
            name = dim.value or f"{value.name}_{axis}"
            usual = _USUAL.get(name, 1 if axis < 2 or len(value.shape) != 4 else _IMAGE)
            used.setdefault(name, dims.get(name, usual))
            lengths.append(used[name])
        value.shape = ir.Shape(lengths)
    strange = [name for name in dims if name not in used]
    if strange:
        known = ", ".join(safe(name, 40) for name in used) or "none, every axis is fixed"
        raise UsageError(f"no dynamic axis is called '{safe(strange[0])}'", hint=f"axes: {known}")
    for value in model.graph.outputs:
        if value.shape is not None:
            dims_now = [used.get(str(getattr(dim, "value", "")), dim) for dim in value.shape]
            value.shape = ir.Shape(dims_now)
    return used


def _lengths(value: ir.Value | None) -> tuple[int, ...] | None:
    if value is None or value.shape is None:
        return None
    dims = tuple(dim for dim in value.shape if isinstance(dim, int))
    return dims if len(dims) == len(value.shape) else None


def _bytes(value: ir.Value) -> int:
    dims = _lengths(value)
    if dims is None or value.dtype is None or value.dtype == ir.DataType.STRING:
        return 0
    count = 1
    for dim in dims:
        count *= dim
    return int(count * value.dtype.itemsize)


def _peak(model: Model) -> tuple[int, str]:
    """The largest sum of values alive at once in the main graph, and the node that meets it."""
    nodes = list(model.graph)
    last: dict[ir.Value, int] = {value: len(nodes) for value in model.graph.outputs}
    for index, node in enumerate(nodes):
        for value in _read(node):
            last[value] = max(index, last.get(value, 0))
    leaving: dict[int, list[ir.Value]] = {}
    for value, index in last.items():
        leaving.setdefault(index, []).append(value)
    alive = sum(_bytes(value) for value in model.graph.inputs)
    most, place = alive, ""
    held = set(model.graph.inputs)
    for index, node in enumerate(nodes):
        for value in node.outputs:
            held.add(value)
            alive += _bytes(value)
        if alive > most:
            most, place = alive, node.op_type
            place += f" '{safe(node.name, 80)}'" if node.name else ""
        for value in leaving.get(index, ()):
            if value in held:
                held.discard(value)
                alive -= _bytes(value)
    return most, place


def _read(node: ir.Node) -> list[ir.Value]:
    """What a node and its bodies read; weights are not activations."""
    found = [value for value in node.inputs if value is not None and value.const_value is None]
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in inside(attribute.as_graph()):
                found += [v for v in inner.inputs if v is not None and v.const_value is None]
    return found
