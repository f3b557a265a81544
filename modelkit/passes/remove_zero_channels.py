"""Remove channels and neurons that pruning has set to zero."""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.model import Model, const_of
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import attribute, constant, is_onnx

SMALL_BYTES = 1 << 20
MAX_REGION = 32

ZERO_KEEPING = frozenset(
    ("Abs", "Celu", "Elu", "Erf", "Gelu", "HardSwish", "Identity", "LeakyRelu", "Mish", "Neg",
     "Relu", "Selu", "Sign", "Sin", "Softsign", "Sqrt", "Tanh")
)  # fmt: skip
POOLS = frozenset(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"))
OTHERS = frozenset(("Cos", "Exp", "HardSigmoid", "Sigmoid", "Softplus"))
BINARY = frozenset(("Add", "Div", "Mul", "Sub"))


def remove_zero_channels(model: Model) -> Changes:
    """Shrink a layer by its outputs that are zero for every input, or that the next layers ignore.

    A layer is a MatMul, Gemm or Conv with constant weights; between it and the layers that read it
    stand activations, pools and arithmetic with constants only.  Equal for finite values.  Whether
    the readers ignore an output is looked at where weights are small or some outputs look zero, so
    that the weights of a large model are not all read.  Convolutions keep zeros that fill a block
    of 16, with which they run as fast as without.
    """
    if not _any_zeros(model):
        return Changes()
    inside = {id(function.graph) for function in model.functions.values()}
    count, notes = 0, []
    for graph in list(graphs(model)):
        if id(graph) in inside:
            continue
        for node in graph:
            weight = _weight(node)
            if weight is not None and _promising(node, weight):
                removed = _shrunk(model, graph, node)
                if removed:
                    notes.append(f"{removed} outputs of '{node.name or node.outputs[0].name}'")
                    count += 1
    return Changes(count, tuple(notes))


def _any_zeros(model: Model) -> bool:
    """Whether some constant that is looked at has zeros enough; each is read once."""
    seen: set[tuple[int, str]] = set()
    for graph in graphs(model):
        for node in graph:
            for value in node.inputs:
                tensor = None if value is None else value.const_value
                if tensor is not None and (id(tensor), node.op_type) not in seen:
                    seen.add((id(tensor), node.op_type))
                    if _has_zeros(node, value):
                        return True
    return False


def _has_zeros(node: ir.Node, value: ir.Value | None) -> bool:
    """Whether ``node`` multiplies by some zeros, or its weight has a slice of them."""
    if is_onnx(node, "Mul"):
        array = const_of(value)
        return array is not None and array.nbytes <= SMALL_BYTES and not array.all()
    weight = _weight(node) if value is node.inputs[min(1, len(node.inputs) - 1)] else None
    if weight is None or not weight.size or not _promising(node, weight):
        return False
    filled = (weight != 0).reshape(*weight.shape[:2], -1).any(axis=-1)
    return not bool(filled.any(axis=0).all() and filled.any(axis=1).all())


@dataclass
class _Region:
    """What lies between a layer and its readers; ``axis`` counts channels from the end."""

    axis: int
    width: int
    values: set[ir.Value] = field(default_factory=set)
    inner: list[ir.Node] = field(default_factory=list)
    readers: list[ir.Node] = field(default_factory=list)


def _weight(node: ir.Node) -> np.ndarray | None:
    """The constant weight of a layer of one group, None for anything else."""
    if not is_onnx(node, "MatMul", "Gemm", "Conv") or len(node.inputs) < 2:
        return None
    value = node.inputs[1]
    if value is None or value.const_value is None or attribute(node, "group", 1) != 1:
        return None
    if attribute(node, "transA", 0) or len(value.const_value.shape) < 2:
        return None
    if len(value.const_value.shape) > 2 and node.op_type != "Conv":
        return None
    return const_of(value)


def _outputs(node: ir.Node, weight: np.ndarray) -> int:
    """Which axis of the weight counts the layer's outputs; the other of 0 and 1 its inputs."""
    return 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1


def _promising(node: ir.Node, weight: np.ndarray) -> bool:
    # One slice decides for nearly all layers that nothing is zero, without reading the others.
    return weight.nbytes <= SMALL_BYTES or not _first(node, weight).all()


def _first(node: ir.Node, weight: np.ndarray) -> np.ndarray:
    if _outputs(node, weight):
        return np.asarray(weight[0])
    return np.asarray(weight.reshape(weight.shape[0], -1)[:, 0])


def _shrunk(model: Model, graph: ir.Graph, node: ir.Node) -> int:
    region = _region(graph, node)
    if region is None:
        return 0
    zeros: dict[ir.Value, np.ndarray] = {node.outputs[0]: _silent(node)}
    dead = np.ones(region.width, dtype=bool)
    for reader in region.readers:
        source, weight = reader.inputs[0], _weight(reader)
        assert source is not None
        assert weight is not None
        rows = weight.swapaxes(0, 1 - _outputs(reader, weight)).reshape(region.width, -1)
        dead &= _zero(source, region, zeros) | ~rows.any(axis=1)
    keep = np.flatnonzero(~dead)
    if not dead.any() or not keep.size or _fills_blocks(node, region.width, keep.size):
        return 0
    _cut(model, graph, node, region, keep)
    return int(dead.sum())


def _fills_blocks(node: ir.Node, width: int, left: int) -> bool:
    """Whether zeros fill up the blocks of a convolution, and fewer channels need as many."""
    return node.op_type == "Conv" and width % BLOCK == 0 and left > width - BLOCK


def _silent(node: ir.Node) -> np.ndarray:
    """The outputs of a layer that are zero whatever comes in."""
    weight = _weight(node)
    assert weight is not None
    columns = weight.swapaxes(0, _outputs(node, weight)).reshape(
        weight.shape[_outputs(node, weight)], -1
    )
    silent = ~columns.any(axis=1)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = const_of(node.inputs[2])
        # A bias of a Gemm may hold for all columns, or differ from row to row.
        silent &= False if bias is None else ~np.any(np.atleast_2d(bias), axis=0)
    return np.asarray(silent)


def _region(graph: ir.Graph, node: ir.Node) -> _Region | None:
    weight = _weight(node)
    assert weight is not None
    value = node.inputs[1]
    if value is None or len(value.uses()) > 1:
        return None
    axis = 1 - weight.ndim if node.op_type == "Conv" else -1
    region = _Region(axis, weight.shape[_outputs(node, weight)])
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = const_of(node.inputs[2])
        if bias is None or np.atleast_2d(bias).shape != (1, region.width):
            return None
    waiting = [node.outputs[0]]
    while waiting:
        value = waiting.pop()
        if value.is_graph_output():
            return None
        region.values.add(value)
        for user, place in value.uses():
            if user.graph is not graph or not _admitted(user, place, region):
                return None
            if user in region.inner or user in region.readers:
                continue
            if _reads(user, place, region):
                region.readers.append(user)
            else:
                region.inner.append(user)
                waiting.append(user.outputs[0])
        if len(region.inner) > MAX_REGION:
            return None
    closed = all(
        given in region.values or _fits(given, region)
        for inner in region.inner
        for given in inner.inputs
        if given is not None
    )
    return region if closed and region.readers else None


def _reads(user: ir.Node, place: int, region: _Region) -> bool:
    weight = _weight(user)
    if weight is None or place != 0:
        return False
    axis = 1 - weight.ndim if user.op_type == "Conv" else -1
    inputs = weight.shape[1 - _outputs(user, weight)]
    shared = user.inputs[1] is not None and len(user.inputs[1].uses()) > 1
    return axis == region.axis and inputs == region.width and not shared


def _admitted(user: ir.Node, place: int, region: _Region) -> bool:
    if _reads(user, place, region):
        return True
    if len(user.outputs) != 1 or not is_onnx(user, user.op_type):
        return False
    if user.op_type in POOLS:
        return region.axis < -1  # they mix what lies behind the channels
    return user.op_type in ZERO_KEEPING | OTHERS | BINARY


def _fits(value: ir.Value, region: _Region) -> bool:
    """Whether a constant is the same for all channels, or one for each."""
    array = const_of(value)
    if array is None or array.ndim > 1 - region.axis:
        return False
    return array.ndim < -region.axis or array.shape[region.axis] in (1, region.width)


def _zero(value: ir.Value, region: _Region, zeros: dict[ir.Value, np.ndarray]) -> np.ndarray:
    """Which channels of ``value`` are zero whatever comes in."""
    if value in zeros:
        return zeros[value]
    if value not in region.values:
        return _zero_constant(value, region)
    node = value.producer()
    assert node is not None
    parts = [_zero(given, region, zeros) for given in node.inputs if given is not None]
    if node.op_type in ZERO_KEEPING | POOLS:
        found = parts[0]
    elif node.op_type == "Mul":
        found = parts[0] | parts[1]
    elif node.op_type in ("Add", "Sub"):
        found = parts[0] & parts[1]
    elif node.op_type == "Div" and node.inputs[1] not in region.values:
        found = parts[0] & ~_some_zero(node.inputs[1], region)
    else:
        found = np.zeros(region.width, dtype=bool)
    zeros[value] = found
    return found


def _by_channel(value: ir.Value | None, region: _Region) -> np.ndarray:
    """A constant as [channels, everything else]."""
    array = const_of(value)
    assert array is not None
    if array.ndim < -region.axis:
        return np.broadcast_to(array.reshape(1, -1), (region.width, array.size))
    moved = np.moveaxis(array, region.axis, 0).reshape(array.shape[region.axis], -1)
    return np.broadcast_to(moved, (region.width, moved.shape[1]))


def _zero_constant(value: ir.Value, region: _Region) -> np.ndarray:
    return np.asarray(~_by_channel(value, region).any(axis=1))


def _some_zero(value: ir.Value | None, region: _Region) -> np.ndarray:
    return np.asarray((_by_channel(value, region) == 0).any(axis=1))


def _cut(model: Model, graph: ir.Graph, node: ir.Node, region: _Region, keep: np.ndarray) -> None:
    weight = _weight(node)
    assert weight is not None
    _replace(model, graph, node, 1, np.take(weight, keep, axis=_outputs(node, weight)))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = const_of(node.inputs[2])
        assert bias is not None
        _replace(model, graph, node, 2, np.take(bias, keep, axis=-1))
    for inner in region.inner:
        for place, value in enumerate(inner.inputs):
            array = None if value in region.values else const_of(value)
            if array is None or array.ndim < -region.axis or array.shape[region.axis] == 1:
                continue
            _replace(model, graph, inner, place, np.take(array, keep, axis=region.axis))
    for reader in region.readers:
        weight = _weight(reader)
        assert weight is not None
        _replace(model, graph, reader, 1, np.take(weight, keep, axis=1 - _outputs(reader, weight)))
    for value in region.values:
        if value.shape is not None:
            dims = list(value.shape)
            dims[region.axis] = int(keep.size)
            value.shape = ir.Shape(dims)


def _replace(model: Model, graph: ir.Graph, node: ir.Node, place: int, array: np.ndarray) -> None:
    old = node.inputs[place]
    assert old is not None
    value = constant(model, graph, f"{old.name}_kept", np.ascontiguousarray(array))
    node.replace_input_with(place, value)
