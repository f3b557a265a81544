"""Write every linear layer as MatMul(x, w) + b in float32, the one form the quantizers read.

Why: exporters write Gemm with factors, weights on the left, other float types, and a bias inside a
Sum of several.  Equal: up to float rounding.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, add_lazy, const_of
from modelkit.model.walk import graphs
from modelkit.passes import Changes
from modelkit.passes.maker import Maker
from modelkit.passes.surgery import is_onnx
from modelkit.quantize.weights import array_of, home, is_weight


def normalize_linears(model: Model) -> Changes:
    """Rewrite Gemm, W @ x, other float types and ``Sum(x @ w, b, ...)``, in place."""
    count = 0
    functions = {id(function.graph) for function in model.functions.values()}
    weights = _Weights()
    for graph in list(graphs(model)):
        if id(graph) in functions:
            continue
        for node in list(graph):
            if is_onnx(node, "Gemm"):
                count += _gemm(node, graph, weights)
            elif is_onnx(node, "MatMul"):
                count += _left(node, graph, weights) or _widened(node, graph, weights)
        for node in list(graph):
            if is_onnx(node, "Sum"):
                count += _sum(node, graph)
    return Changes(count)


def constant_bias(node: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """The Add that is the only reader of the linear layer ``node``, and the vector it adds."""
    output = node.outputs[0]
    readers = list(output.uses())
    weight = node.inputs[1]
    if (
        len(readers) != 1
        or output.is_graph_output()
        or weight is None
        or weight.const_value is None
    ):
        return None
    reader = readers[0][0]
    if not is_onnx(reader, "Add") or reader.graph is not node.graph:
        return None
    other = reader.inputs[0] if reader.inputs[1] is output else reader.inputs[1]
    array = const_of(other)
    if other is None or array is None or array.shape != (width_of(weight),):
        return None
    return reader, other


def width_of(weight: ir.Value) -> int:
    """How many columns a constant matrix has."""
    assert weight.const_value is not None
    return int(weight.const_value.shape.numpy()[-1])


@dataclass
class _Weights:
    """Float32 forms of weights, each made once."""

    _made: dict[tuple[ir.Value, bool, float], ir.Value] = field(default_factory=dict)

    def get(
        self, graph: ir.Graph, value: ir.Value, *, turned: bool, factor: float = 1.0
    ) -> ir.Value:
        key = (value, turned, factor)
        if key not in self._made:
            self._made[key] = self._plain(home(value, graph), value, turned, factor)
        return self._made[key]

    def _plain(self, graph: ir.Graph, value: ir.Value, turned: bool, factor: float) -> ir.Value:
        tensor, name = value.const_value, f"{value.name}_plain"

        def array() -> np.ndarray:
            whole = (
                array_of(value) if tensor is None else tensor.numpy().astype(np.float32, copy=False)
            )
            whole = whole.T if turned else whole
            return whole * np.float32(factor) if factor != 1.0 else whole

        if tensor is None or (factor == 1.0 and tensor.dtype == ir.DataType.FLOAT):
            return add_constant(graph, name, array())
        # Other than a view this is a copy, and a large model has many: made when it is read.
        dims = tuple(tensor.shape.numpy())
        shape = dims[::-1] if turned else dims
        return add_lazy(graph, name, array, ir.DataType.FLOAT, shape)


def _gemm(node: ir.Node, graph: ir.Graph, weights: _Weights) -> int:
    x, weight = node.inputs[0], node.inputs[1]
    if x is None or weight is None or is_weight(x) or not is_weight(weight):
        return 0
    if node.attributes.get_int("transA", 0):
        return 0
    maker = Maker(graph, node)
    turned = bool(node.attributes.get_int("transB", 0))
    alpha = node.attributes.get_float("alpha", 1.0) or 0.0
    beta = node.attributes.get_float("beta", 1.0) or 0.0
    plain = weight
    if turned or alpha != 1.0 or weight.dtype != ir.DataType.FLOAT or weight.const_value is None:
        plain = weights.get(graph, weight, turned=turned, factor=alpha)
    offset = node.inputs[2] if len(node.inputs) > 2 else None
    bias = _bias(offset, beta, plain, graph, maker)
    result = _product(maker, _float(maker, x), plain)
    if bias is not None:
        result = maker.make("Add", [result, bias])
        result.shape, result.type = node.outputs[0].shape, ir.TensorType(ir.DataType.FLOAT)
    maker.replace(node, maker.back(result, x.dtype))
    return 1


def _bias(
    offset: ir.Value | None, beta: float, weight: ir.Value, graph: ir.Graph, maker: Maker
) -> ir.Value | None:
    """What is added: a constant vector [N] where it can be one."""
    if offset is None or beta == 0.0:
        return None
    array = const_of(offset)
    width = width_of(weight)
    if (
        array is not None
        and array.size in (1, width)
        and (array.ndim <= 1 or array.shape[-1] == array.size)
    ):
        spread = np.broadcast_to(array.astype(np.float32).reshape(-1) * np.float32(beta), width)
        return add_constant(graph, f"{offset.name}_bias", spread)
    wide = _float(maker, offset)
    if beta == 1.0:
        return wide
    return maker.make("Mul", [wide, add_constant(graph, "beta", np.array(beta, np.float32))])


def _left(node: ir.Node, graph: ir.Graph, weights: _Weights) -> int:
    """W @ x becomes transpose(transpose(x) @ transpose(W))."""
    weight, x = node.inputs[0], node.inputs[1]
    if weight is None or x is None or not is_weight(weight) or const_of(x) is not None:
        return 0
    if weight.shape is None or len(weight.shape) != 2 or x.shape is None or len(x.shape) < 2:
        return 0
    maker = Maker(graph, node)
    last = len(x.shape) - 1
    order = [*range(last - 1), last, last - 1]
    turned = maker.make("Transpose", [_float(maker, x)], perm=order)
    turned.type = ir.TensorType(ir.DataType.FLOAT)
    product = _product(maker, turned, weights.get(graph, weight, turned=True))
    back = maker.make("Transpose", [product], perm=order)
    maker.replace(node, maker.back(back, x.dtype))
    return 1


def _widened(node: ir.Node, graph: ir.Graph, weights: _Weights) -> int:
    x, weight = node.inputs[0], node.inputs[1]
    if x is None or weight is None or is_weight(x) or not is_weight(weight):
        return 0
    if weight.dtype == ir.DataType.FLOAT and weight.const_value is not None:
        return 0
    maker = Maker(graph, node)
    plain = weights.get(graph, weight, turned=False)
    maker.replace(node, maker.back(_product(maker, _float(maker, x), plain), x.dtype))
    return 1


def _product(maker: Maker, x: ir.Value, weight: ir.Value) -> ir.Value:
    result = maker.make("MatMul", [x, weight])
    maker.name(result)
    result.type = ir.TensorType(ir.DataType.FLOAT)
    return result


def _float(maker: Maker, x: ir.Value) -> ir.Value:
    if x.dtype is None or x.dtype == ir.DataType.FLOAT:
        return x
    wide = maker.make("Cast", [x], to=ir.DataType.FLOAT.value)
    wide.shape, wide.type = x.shape, ir.TensorType(ir.DataType.FLOAT)
    return wide


def _sum(node: ir.Node, graph: ir.Graph) -> int:
    """``Sum(x @ w, b, rest)`` becomes ``Sum((x @ w) + b, rest)``."""
    for position, value in enumerate(node.inputs):
        maker_of = value.producer() if value is not None else None
        if value is None or maker_of is None or not is_onnx(maker_of, "MatMul"):
            continue
        weight = maker_of.inputs[1]
        if (
            weight is None
            or weight.const_value is None
            or len(list(value.uses())) != 1
            or value.is_graph_output()
        ):
            continue
        width = width_of(weight)
        for other, bias in enumerate(node.inputs):
            array = const_of(bias)
            if other == position or array is None or array.shape != (width,):
                continue
            maker = Maker(graph, node)
            whole = maker.make("Add", [value, bias])
            whole.shape, whole.type = value.shape, value.type
            rest = [v for i, v in enumerate(node.inputs) if i not in (position, other)]
            if rest:
                whole = maker.make("Sum", [whole, *rest])
            maker.replace(node, whole)
            return 1
    return 0
