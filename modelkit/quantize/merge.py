"""One product where several read the same activation, as query, key and value, or gate and up.

Why: a step of a decoder reads weights and little else, and fewer, wider products read them faster:
1.03x with weights of 4 bits.  (In int8 with dynamic ranges it gains nothing at a step, and the
Split costs 0.95x at a prompt of 128.)  Equal: column by column the same numbers.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, add_lazy, const_of, release
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.maker import Maker
from modelkit.passes.surgery import is_onnx
from modelkit.quantize.linears import constant_bias, width_of
from modelkit.quantize.weights import is_weight

_SPLIT_BY_COUNT = 13  # opset from which Split takes its sizes as an input


def is_decoder(model: Model) -> bool:
    """Whether attention in ``model`` appends to a cache that comes in and goes out."""
    for node in model.graph:
        past = {"Attention": (4, 5), "GroupQueryAttention": (3, 4)}.get(node.op_type)
        if past is None or len(node.inputs) <= past[1]:
            continue
        key = node.inputs[past[0]]
        if key is not None and key.is_graph_input():
            return True
    return False


def merge_linears(model: Model, stay: Callable[[ir.Node], bool] = lambda node: False) -> Changes:
    """Merge ``MatMul(x, w) + b`` of one x, in place; nodes for which ``stay`` is true are left."""
    if model.graph.opset_imports.get("", 0) < _SPLIT_BY_COUNT:
        return Changes(0)
    count = 0
    functions = {id(function.graph) for function in model.functions.values()}
    for graph in list(graphs(model)):
        if id(graph) not in functions:
            count += _merge(graph, stay)
    return Changes(count)


@dataclass(frozen=True)
class _Layer:
    node: ir.Node
    weight: ir.Value
    bias: np.ndarray | None
    last: ir.Node

    @property
    def width(self) -> int:
        return width_of(self.weight)


def _merge(graph: ir.Graph, stay: Callable[[ir.Node], bool]) -> int:
    by_input: dict[ir.Value, list[_Layer]] = {}
    for node in graph:
        x = node.inputs[0] if node.inputs else None
        if x is not None and is_onnx(node, "MatMul") and not stay(node):
            layer = _layer(node)
            if layer is not None:
                by_input.setdefault(x, []).append(layer)
    count = 0
    for x, layers in by_input.items():
        # A weight that others read too would be kept twice.
        layers = [layer for layer in layers if _read_once(layer.weight)]
        if len(layers) > 1 and not _is_told(layers):
            _replace(graph, x, layers)
            count += 1
    return count


def _layer(node: ir.Node) -> _Layer | None:
    weight = node.inputs[1]
    if weight is None or not is_weight(weight) or weight.const_value is None:
        return None
    if len(weight.const_value.shape) != 2 or weight.const_value.dtype != ir.DataType.FLOAT:
        return None
    added = constant_bias(node)
    bias = None if added is None else const_of(added[1])
    return _Layer(node, weight, bias, node if added is None else added[0])


def _read_once(weight: ir.Value) -> bool:
    return len(list(weight.uses())) == 1


def _is_told(layers: Sequence[_Layer]) -> bool:
    """Whether one of them makes an output of the graph, which keeps its name."""
    return any(layer.last.outputs[0].is_graph_output() for layer in layers)


def _replace(graph: ir.Graph, x: ir.Value, layers: Sequence[_Layer]) -> None:
    first = layers[0].node
    maker = Maker(graph, first)
    names = [layer.node.name or layer.node.outputs[0].name or "" for layer in layers]
    product = maker.make("MatMul", [x, _weight(graph, layers)])
    node = product.producer()
    assert node is not None
    node.name = "+".join(names)
    product.type = ir.TensorType(ir.DataType.FLOAT)
    if any(layer.bias is not None for layer in layers):
        product = maker.make("Add", [product, _bias(graph, layers)])
        product.type = ir.TensorType(ir.DataType.FLOAT)
    sizes = np.array([layer.width for layer in layers], np.int64)
    widths = add_constant(graph, "widths", sizes)
    parts = maker.make_all("Split", [product, widths], len(layers), axis=-1)
    for layer, part in zip(layers, parts, strict=True):
        old = layer.last.outputs[0]
        part.shape, part.type = old.shape, old.type
        old.replace_all_uses_with(part)
    for layer in layers:
        if layer.last is not layer.node:
            graph.remove(layer.last, safe=True)
        graph.remove(layer.node, safe=True)


def _weight(graph: ir.Graph, layers: Sequence[_Layer]) -> ir.Value:
    tensors = [
        tensor for tensor in (layer.weight.const_value for layer in layers) if tensor is not None
    ]
    rows = int(tensors[0].shape.numpy()[0])

    def joined() -> np.ndarray:
        whole = np.concatenate([tensor.numpy() for tensor in tensors], 1)
        for tensor in tensors:
            release(tensor)
        return whole

    shape = (rows, sum(layer.width for layer in layers))
    return add_lazy(graph, f"{layers[0].weight.name}_merged", joined, ir.DataType.FLOAT, shape)


def _bias(graph: ir.Graph, layers: Collection[_Layer]) -> ir.Value:
    parts = [
        np.zeros(layer.width, np.float32) if layer.bias is None else layer.bias for layer in layers
    ]
    return add_constant(graph, "bias_merged", np.concatenate(parts))
