"""Dynamic quantization: weights in eight bits, activation ranges found at run time.

A linear layer becomes DynamicQuantizeLinear (once an activation) and MatMulIntegerToFloat with
the bias inside, the form ONNX Runtime's CPU kernels run fastest (signed weights without a zero
point, one scale a column).  An embedding table keeps one scale a row.  An LSTM computes in eight
bits too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, const_of, nested
from modelkit.passes.maker import Maker
from modelkit.quantize.embeddings import Tables, is_table
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.recurrent import RECURRENT, Recurrent
from modelkit.quantize.weights import Packer, array_of, is_weight, why_without

# Operators with weights that stay as they are, and why.
_REASONS = {
    "Conv": "dynamic convolution is 5-8x slower in ONNX Runtime; static quantization fits it",
    "ConvTranspose": "ONNX Runtime has no integer kernel for it",
    "Einsum": "it is no plain product with a matrix",
    "Attention": "its projections are inside the operator",
    "FusedMatMul": "a fused form; quantize before fusing",
}


@dataclass
class Quantizer:
    """One run over a model; ``exclude`` are patterns of node names, ``exclude_op`` operators."""

    packer: Packer
    exclude: Sequence[re.Pattern[str]] = ()
    exclude_op: Sequence[str] = ()
    outcome: Outcome = field(default_factory=Outcome)
    _tables: Tables = field(default_factory=Tables)
    _recurrent: Recurrent = field(init=False)
    _activations: dict[tuple[int, ir.Value], list[ir.Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._recurrent = Recurrent(self.packer.per_channel, largest=self.packer.largest)

    def run(self, model: Model) -> Outcome:
        """Quantize every layer of the graph and its subgraphs, in place."""
        return self._run(model, list(nested(model.graph)))

    def run_bodies(self, model: Model) -> Outcome:
        """Quantize the layers of the subgraphs only, in place, and note them as ``unseen``."""
        return self._run(model, list(nested(model.graph))[1:], unseen=True)

    def _run(self, model: Model, inside: Sequence[ir.Graph], *, unseen: bool = False) -> Outcome:
        for graph in inside:
            for node in list(graph):
                before = self.outcome.quantized
                self._visit(node, graph)
                if unseen and self.outcome.quantized > before:
                    self.outcome.unseen.append(node.name or node.op_type)
        if self.outcome.quantized:
            model.graph.opset_imports.setdefault("com.microsoft", 1)
        return self.outcome

    def _visit(self, node: ir.Node, graph: ir.Graph) -> None:
        handler = {
            "MatMul": self._matmul,
            "Gemm": self._gemm,
            "Gather": self._tables.shrink,
            **dict.fromkeys(RECURRENT, self._recurrent.replace),
        }.get(node.op_type)
        weights = [value for value in node.inputs if is_weight(value)]
        if handler is None and node.op_type not in _REASONS:
            return
        if not weights:
            lacking = why_without(node)
            if lacking is not None:
                self.outcome.candidates += 1
                self.outcome.skip(node, lacking)
            return
        if node.op_type == "Gather" and not is_table(node.inputs[0]):
            return
        self.outcome.candidates += 1
        name = node.name or ""
        if node.op_type in self.exclude_op or any(p.search(name) for p in self.exclude):
            self.outcome.skip(node, "excluded by option")
        elif handler is None:
            self.outcome.skip(node, _REASONS[node.op_type])
        elif any(not np.isfinite(array_of(value)).all() for value in weights):
            self.outcome.skip(node, "its weights hold NaN or infinity")
        else:
            reason = handler(node, graph)
            if reason is None:
                self.outcome.quantized += 1
            else:
                self.outcome.skip(node, reason)

    def _matmul(self, node: ir.Node, graph: ir.Graph) -> str | None:
        left, right = node.inputs[0], node.inputs[1]
        assert left is not None
        assert right is not None
        if not is_weight(right):
            return self._left_weight(node, graph, left, right)
        if is_weight(left):
            return "both operands are constants"
        weight = array_of(right)
        if weight.ndim < 2:
            return "its weight is a vector"
        maker = Maker(graph, node)
        activation = self._quantized(left, graph, maker)
        if weight.ndim > 2:
            result = self._stacked(activation, right, weight, graph, maker)
            maker.replace(node, result)
            return None
        bias, last = _bias_after(node, weight.shape[-1])
        result = self._product(activation, right, weight, "plain", bias, graph, maker, left.dtype)
        maker.replace(last, result)
        return None

    def _left_weight(
        self, node: ir.Node, graph: ir.Graph, weight: ir.Value, x: ir.Value
    ) -> str | None:
        """W @ x as transpose(transpose(x) @ transpose(W))."""
        array = array_of(weight)
        if array.ndim != 2 or x.shape is None or len(x.shape) < 2:
            return "a constant on the left of an operand of unknown rank"
        maker = Maker(graph, node)
        order = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
        turned = maker.make("Transpose", [x], perm=order)
        turned.type = x.type
        activation = self._quantized(turned, graph, maker)
        product = self._product(activation, weight, array.T, "turned", None, graph, maker, x.dtype)
        maker.replace(node, maker.make("Transpose", [product], perm=order))
        return None

    def _gemm(self, node: ir.Node, graph: ir.Graph) -> str | None:
        x, right = node.inputs[0], node.inputs[1]
        if not is_weight(right) or is_weight(x):
            return "its weight is not the second operand"
        assert x is not None
        assert right is not None
        if node.attributes.get_int("transA", 0):
            return "its activation is transposed"
        weight = array_of(right) * np.float32(node.attributes.get_float("alpha", 1.0))
        form = "gemm" + ("_turned" if node.attributes.get_int("transB", 0) else "")
        if node.attributes.get_int("transB", 0):
            weight = weight.T
        form += f"_{node.attributes.get_float('alpha', 1.0)}"
        offset = node.inputs[2] if len(node.inputs) > 2 else None
        beta = node.attributes.get_float("beta", 1.0) or 0.0
        maker = Maker(graph, node)
        activation = self._quantized(x, graph, maker)
        constant = const_of(offset)
        vector = None
        if (
            constant is not None
            and constant.size in (1, weight.shape[1])
            and (constant.ndim <= 1 or constant.shape[0] == 1)
        ):
            spread = np.broadcast_to(constant.reshape(-1) * np.float32(beta), weight.shape[1])
            vector = add_constant(graph, f"{node.name}_bias", spread.astype(np.float32))
        result = self._product(activation, right, weight, form, vector, graph, maker, x.dtype)
        if offset is not None and vector is None:
            scaled = offset
            if beta != 1.0:
                kind = x.dtype.numpy() if x.dtype is not None else np.float32
                factor = add_constant(graph, f"{node.name}_beta", np.asarray(beta, kind))
                scaled = maker.make("Mul", [offset, factor])
            result = maker.make("Add", [result, scaled])
        maker.replace(node, result)
        return None

    def _quantized(self, x: ir.Value, graph: ir.Graph, maker: Maker) -> list[ir.Value]:
        """(uint8 values, scale, zero point) of an activation, made once for all its readers."""
        key = (id(graph), x)
        if key not in self._activations:
            source = x
            if x.dtype is not None and x.dtype != ir.DataType.FLOAT:
                source = maker.make("Cast", [x], first=True, to=ir.DataType.FLOAT.value)
            self._activations[key] = maker.make_all(
                "DynamicQuantizeLinear", [source], 3, after=source
            )
        return self._activations[key]

    def _product(
        self,
        activation: list[ir.Value],
        value: ir.Value,
        weight: np.ndarray,
        form: str,
        bias: ir.Value | None,
        graph: ir.Graph,
        maker: Maker,
        dtype: ir.DataType | None,
    ) -> ir.Value:
        packed = self.packer.pack(graph, value, weight, form)
        quantized, scale, zero_point = activation
        inputs = [quantized, packed.values, scale, packed.scale, zero_point, packed.zero_point]
        inputs.append(_as_float(bias, graph))
        result = maker.make("MatMulIntegerToFloat", inputs, domain="com.microsoft")
        return maker.back(result, dtype)

    def _stacked(
        self,
        activation: list[ir.Value],
        value: ir.Value,
        weight: np.ndarray,
        graph: ir.Graph,
        maker: Maker,
    ) -> ir.Value:
        """A stack of weights: MatMulInteger, whose result is scaled by batch and column."""
        packed = replace(self.packer, unsigned=False).pack(graph, value, weight, "3d")
        quantized, scale, zero_point = activation
        whole = maker.make("MatMulInteger", [quantized, packed.values, zero_point])
        wide = maker.make("Cast", [whole], to=ir.DataType.FLOAT.value)
        both = maker.make("Mul", [scale, packed.scale])
        return maker.make("Mul", [wide, both])


def _bias_after(node: ir.Node, width: int) -> tuple[ir.Value | None, ir.Node]:
    """The constant vector that the only reader adds, and the node that the product replaces."""
    output = node.outputs[0]
    readers = list(output.uses())
    if len(readers) == 1 and not output.is_graph_output():
        reader = readers[0][0]
        if reader.op_type == "Add" and reader.graph is node.graph:
            other = reader.inputs[0] if reader.inputs[1] is output else reader.inputs[1]
            array = const_of(other)
            if array is not None and array.shape == (width,):
                return other, reader
    return None, node


def _as_float(bias: ir.Value | None, graph: ir.Graph) -> ir.Value | None:
    if bias is None or bias.dtype in (None, ir.DataType.FLOAT):
        return bias
    array = const_of(bias)
    assert array is not None
    return add_constant(graph, f"{bias.name}_float", array.astype(np.float32))
