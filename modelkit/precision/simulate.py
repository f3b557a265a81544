"""What a half-precision model computes where half is real, found on a machine that has none.

ONNX Runtime's CPU provider runs half-precision operators in float: it inserts casts, drops the
roundings between operators, and so hides every overflow.  Here the opposite is done: all operators
run in float, and each result that the model holds in half is rounded to half and back.  Run it
with optimizations off.  Sums inside one operator stay in float, as they do on GPUs.
"""

from pathlib import Path

import onnx_ir as ir

from modelkit.model import Model, clone, load, save
from modelkit.model.walk import graphs
from modelkit.passes.surgery import attribute, is_onnx
from modelkit.precision.convert import place_after
from modelkit.precision.narrow import HALVES
from modelkit.precision.types import TYPE_ATTRIBUTES, settle_types

_HALF = frozenset(HALVES.values())
_FLOAT = ir.DataType.FLOAT
ROUNDED = ".simulated"
"""Ending of the name under which a simulation holds a value as half would hold it."""


def simulated_file(path: Path, folder: Path, source: Path | None = None) -> Path:
    """Write the simulation of the model at ``path``, made from ``source``, into ``folder``."""
    half_ports = frozenset[str]() if source is None else _half_ports(load(source))
    return save(simulated(load(path), half_ports), folder / "simulated.onnx")


def simulated(model: Model, half_ports: frozenset[str] = frozenset()) -> Model:
    """A model of float operators that computes what ``model`` does in half, rounding by rounding.

    Inputs and outputs that ``model`` takes in half are float in it, except ``half_ports``.
    """
    copy = clone(model)
    settle_types(copy)
    ports = {v.name or "": v.dtype for v in copy.graph.outputs if v.name in half_ports}
    for graph in list(graphs(copy)):
        for value in graph.inputs:
            if _is_half(value) and value.name in half_ports and graph is copy.graph:
                _widen(graph, value)
            elif _is_half(value):
                _round(graph, value)
        for value in list(graph.initializers.values()):
            if _is_half(value) and not value.is_graph_input():
                _widen(graph, value)
        for node in list(graph):
            _to_float(node)
            for value in node.outputs:
                if _is_half(value) and value.name:
                    _round(graph, value)
    for place, value in enumerate(copy.graph.outputs):
        half = ports.get(value.name or "")
        if half in _HALF and not _is_half(value):
            _narrow_output(copy.graph, place, half)
    return copy


def _half_ports(model: Model) -> frozenset[str]:
    """Inputs and outputs that are half in the model itself."""
    ports = (*model.graph.inputs, *model.graph.outputs)
    return frozenset(value.name for value in ports if value.name and _is_half(value))


def _narrow_output(graph: ir.Graph, place: int, half: ir.DataType) -> None:
    value = graph.outputs[place]
    down = _cast(value, half, f"{value.name}.narrow")
    made = down.outputs[0]
    graph.append(down)
    graph.outputs[place] = made
    value.name, made.name = made.name, value.name


def _is_half(value: ir.Value) -> bool:
    return isinstance(value.type, ir.TensorType) and value.dtype in _HALF


def _round(graph: ir.Graph, value: ir.Value) -> None:
    """Let all readers of ``value`` see it rounded; a graph output keeps its name."""
    half = value.dtype
    assert half is not None
    value.type = ir.TensorType(_FLOAT)
    if value.const_value is not None:
        value.const_value = _wide(value.const_value)
    down = _cast(value, half, f"{value.name}.rounded")
    up = _cast(down.outputs[0], _FLOAT, f"{value.name}{ROUNDED}")
    made = up.outputs[0]
    value.replace_all_uses_with(made, replace_graph_outputs=True)
    down.replace_input_with(0, value)
    place_after(graph, value, up)
    place_after(graph, value, down)
    if made.is_graph_output() and value.producer() is not None:
        value.name, made.name = made.name, value.name


def _widen(graph: ir.Graph, value: ir.Value) -> None:
    """Let all readers of a half weight or input read it in float."""
    up = _cast(value, _FLOAT, f"{value.name}{ROUNDED}")
    value.replace_all_uses_with(up.outputs[0], replace_graph_outputs=True)
    up.replace_input_with(0, value)
    if len(graph):
        graph.insert_before(graph.node(0), up)
    else:
        graph.append(up)


def _cast(value: ir.Value, to: ir.DataType, name: str) -> ir.Node:
    node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", to.value)])
    made = node.outputs[0]
    made.name = name
    made.type, made.shape = ir.TensorType(to), value.shape
    return node


def _to_float(node: ir.Node) -> None:
    """Let a node that says half in its attributes say float."""
    for name in TYPE_ATTRIBUTES:
        said = attribute(node, name)
        if isinstance(said, int) and ir.DataType(said) in _HALF:
            node.attributes[name] = ir.AttrInt64(name, _FLOAT.value)
    held = attribute(node, "value")
    tensor = isinstance(held, ir.TensorProtocol) and held.dtype in _HALF
    if tensor and is_onnx(node, "Constant", "ConstantOfShape"):
        node.attributes["value"] = ir.AttrTensor("value", _wide(held))


def _wide(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype("float32"), name=tensor.name)
