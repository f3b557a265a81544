"""Put eight bits into a graph, as planned: in QDQ form or as integer operators.

QDQ (QuantizeLinear and DequantizeLinear around float operators) is what every runtime reads and
fuses by itself.  The operator form (``qop``) is what ONNX Runtime's CPU kernels run without having
to find anything: MatMulIntegerToFloat with the bias inside, QLinearConv and its kin.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant, const_of
from modelkit.passes.maker import Maker
from modelkit.quantize.linears import constant_bias
from modelkit.quantize.plan import SAME, Layer, Plan, clamp_after, settled
from modelkit.quantize.ranges import Range
from modelkit.quantize.weights import array_of, symmetric

_CONTRIB = {
    "Add": "QLinearAdd",
    "Sum": "QLinearAdd",
    "Mul": "QLinearMul",
    "GlobalAveragePool": "QLinearGlobalAveragePool",
    "AveragePool": "QLinearAveragePool",
    "Sigmoid": "QLinearSigmoid",
    "LeakyRelu": "QLinearLeakyRelu",
}
_LARGEST_BIAS = 2.0**30


@dataclass(frozen=True)
class Form:
    """How eight bits are written: activations unsigned or signed, the operators, the weights."""

    qop: bool = False
    unsigned: bool = True
    per_channel: bool = True
    largest: int = 127
    integer_bias: bool = True


@dataclass(frozen=True)
class Quantized:
    """A value in eight bits, ``real = (values - zero) * scale``, and its float form."""

    values: ir.Value
    real: ir.Value
    scale: ir.Value
    zero: ir.Value
    step: float


def emit(graph: ir.Graph, plan: Plan, ranges: Mapping[str, Range], form: Form) -> None:
    """Quantize the planned layers of ``graph`` in place; ``ranges`` are by value name."""
    emitter = _Emitter(graph, ranges, form)
    layers = {layer.node: layer for layer in plan.layers}
    between, entries = set(plan.between), set(plan.entries)
    for node in list(graph):
        if node in layers and layers[node].is_conv:
            emitter.convolution(layers[node])
        elif node in layers:
            emitter.linear(layers[node])
        elif node in between:
            emitter.step(node)
        elif node in entries:
            emitter.entry(node)


def parameters(reach: Range, *, unsigned: bool) -> tuple[float, int]:
    """Scale and zero point of a range: asymmetric uint8, or int8 around zero."""
    if unsigned:
        scale = float(np.float32((reach.high - reach.low) / 255)) or 1.0
        return scale, int(np.clip(np.rint(-reach.low / scale), 0, 255))
    return float(np.float32(max(reach.high, -reach.low) / 127)) or 1.0, 0


@dataclass
class _Emitter:
    graph: ir.Graph
    ranges: Mapping[str, Range]
    form: Form
    _made: dict[ir.Value, Quantized] = field(default_factory=dict)
    _packed: dict[tuple[ir.Value, int], tuple[ir.Value, ir.Value, np.ndarray]] = field(
        default_factory=dict
    )
    _widened: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def linear(self, layer: Layer) -> None:
        """MatMul(Q(x), W8), its bias inside in operator form."""
        node, maker = layer.node, Maker(self.graph, layer.node)
        x = self._activation(node.inputs[0], maker)
        values, scale, _ = self._weight(layer.weight, layer.axis)
        if not self.form.qop:
            node.replace_input_with(0, x.real)
            node.replace_input_with(1, self._wide(values, scale, layer.axis, maker))
            return
        found = constant_bias(node)
        last, bias = found if found is not None else (node, None)
        product = maker.make(
            "MatMulIntegerToFloat",
            [x.values, values, x.scale, scale, x.zero, None, bias],
            domain="com.microsoft",
        )
        maker.name(product)
        maker.replace(last, product)

    def convolution(self, layer: Layer) -> None:
        """Conv between integers; a Relu behind it becomes the lower end of the range."""
        node = layer.node
        maker = Maker(self.graph, node)
        x = self._activation(node.inputs[0], maker)
        bias = const_of(node.inputs[2]) if len(node.inputs) > 2 else None
        values, scale, steps = self._packed_for(layer, x.step, bias)
        inner = None
        if bias is not None and self.form.integer_bias:
            whole = np.rint(bias.astype(np.float64) / (steps * x.step))
            whole = np.clip(whole, -(2**31), 2**31 - 1).astype(np.int32)
            inner = add_constant(self.graph, f"{layer.name}_bias", whole)
        target, reach = self._target(node)
        out_scale, out_zero, step = self._constants(node.name or "conv", reach)
        if self.form.qop:
            inputs = [x.values, x.scale, x.zero, values, scale, self._zeros(steps)]
            inputs += [out_scale, out_zero, inner] if inner is not None else [out_scale, out_zero]
            made = maker.make("QLinearConv", inputs, **_attributes(node))
        else:
            node.replace_input_with(0, x.real)
            node.replace_input_with(1, self._wide(values, scale, layer.axis, maker))
            if inner is not None:
                at = np.asarray(steps * np.float32(x.step), np.float32).reshape(-1)
                bias_scale = add_constant(self.graph, f"{layer.name}_bias_scale", at)
                wide = maker.make("DequantizeLinear", [inner, bias_scale], axis=0)
                node.replace_input_with(2, wide)
            made = self._behind(node, target, out_scale, out_zero)
        self._hand_on(target, made, out_scale, out_zero, step, node)

    def step(self, node: ir.Node) -> None:
        """A node between layers: on integers, or between Q and DQ."""
        maker = Maker(self.graph, node)
        data = [value for value in node.inputs if value in self._made]
        if not data:
            return
        inputs = [self._made[value] for value in data if value is not None]
        target, reach = self._target(node)
        if node.op_type in SAME:
            out_scale, out_zero, step = inputs[0].scale, inputs[0].zero, inputs[0].step
        else:
            out_scale, out_zero, step = self._constants(node.name or node.op_type, reach)
        kind = _CONTRIB.get(node.op_type)
        if self.form.qop and node.op_type in SAME:
            rest = list(node.inputs[1:])
            made = maker.make(node.op_type, [inputs[0].values, *rest], **_attributes(node))
        elif self.form.qop and node.op_type == "Concat":
            parts = [part for x in inputs for part in (x.values, x.scale, x.zero)]
            made = maker.make(
                "QLinearConcat",
                [out_scale, out_zero, *parts],
                domain="com.microsoft",
                **_attributes(node),
            )
        elif self.form.qop and kind is not None:
            parts = [part for x in inputs for part in (x.values, x.scale, x.zero)]
            extra = {"channels_last": 0} if kind.endswith("GlobalAveragePool") else {}
            made = maker.make(
                kind,
                [*parts, out_scale, out_zero],
                domain="com.microsoft",
                **(_attributes(node) | extra),
            )
        else:
            made = self._behind(node, target, out_scale, out_zero)
        self._hand_on(target, made, out_scale, out_zero, step, node)

    def entry(self, node: ir.Node) -> None:
        """A float node whose result becomes integers at once."""
        target, reach = self._target(node)
        scale, zero, step = self._constants(node.name or node.op_type, reach)
        made = self._behind(node, target, scale, zero)
        self._hand_on(target, made, scale, zero, step, node)

    def _activation(self, x: ir.Value | None, maker: Maker) -> Quantized:
        """``x`` in eight bits, made once for all its readers."""
        assert x is not None
        if x not in self._made:
            name = x.name or "x"
            scale, zero, step = self._constants(name, self.ranges[name])
            values = maker.make("QuantizeLinear", [x, scale, zero], first=True)
            real = maker.make("DequantizeLinear", [values, scale, zero], first=True)
            real.shape, real.type = x.shape, ir.TensorType(ir.DataType.FLOAT)
            self._made[x] = Quantized(values, real, scale, zero, step)
        return self._made[x]

    def _constants(self, name: str, reach: Range) -> tuple[ir.Value, ir.Value, float]:
        scale, zero = parameters(reach, unsigned=self.form.unsigned)
        kind = np.uint8 if self.form.unsigned else np.int8
        return (
            add_constant(self.graph, f"{name}_scale", np.array(scale, np.float32)),
            add_constant(self.graph, f"{name}_zero_point", np.array(zero, kind)),
            scale,
        )

    def _target(self, node: ir.Node) -> tuple[ir.Value, Range]:
        """The value that becomes integers behind ``node``, and its range."""
        target = settled(node)
        return target, self.ranges.get(target.name or "", Range(0.0, 0.0))

    def _behind(self, node: ir.Node, target: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
        """QuantizeLinear behind a float operator; unsigned integers clamp at 0 by themselves."""
        if node.op_type == "Sum":
            node.op_type = "Add"
        clamp = clamp_after(node)
        source = target
        if clamp is not None and self.form.unsigned:
            source = node.outputs[0]
        producer = source.producer()
        assert producer is not None
        maker = Maker(self.graph, producer)
        return maker.make("QuantizeLinear", [source, scale, zero], first=True)

    def _hand_on(
        self,
        target: ir.Value,
        made: ir.Value,
        scale: ir.Value,
        zero: ir.Value,
        step: float,
        node: ir.Node,
    ) -> None:
        """Let all readers of ``target`` read the integers' float form instead."""
        maker = Maker(self.graph, node)
        real = maker.make("DequantizeLinear", [made, scale, zero], first=True)
        real.shape, real.type = target.shape, ir.TensorType(ir.DataType.FLOAT)
        quantize = made.producer()
        for user, index in list(target.uses()):
            if user is not quantize:
                user.replace_input_with(index, real)
        self._made[real] = Quantized(made, real, scale, zero, step)

    def _weight(self, value: ir.Value, axis: int) -> tuple[ir.Value, ir.Value, np.ndarray]:
        """int8 values, scale [channels] or scalar, and the scale as an array; once a weight."""
        key = (value, axis)
        if key not in self._packed:
            self._packed[key] = self._pack(value, axis, None)
        return self._packed[key]

    def _pack(
        self, value: ir.Value, axis: int, floor: np.ndarray | None
    ) -> tuple[ir.Value, ir.Value, np.ndarray]:
        array = array_of(value)
        chosen = axis if self.form.per_channel else None
        values, scale = symmetric(array, chosen, self.form.largest)
        if floor is not None and (floor > scale.reshape(-1)).any():
            shape = [1] * array.ndim
            shape[axis] = -1
            low = floor if chosen is not None else np.array([floor.max()], np.float32)
            scale = np.maximum(scale.reshape(-1), low).astype(np.float32)
            scale = scale.reshape(shape if chosen is not None else [1] * array.ndim)
            values = np.clip(np.rint(array / scale), -self.form.largest, self.form.largest)
            values = values.astype(np.int8)
        steps = scale.reshape(-1) if chosen is not None else scale.reshape(())
        name = value.name or "weight"
        return (
            add_constant(self.graph, f"{name}_quantized", values),
            add_constant(self.graph, f"{name}_scale", steps),
            steps,
        )

    def _packed_for(
        self, layer: Layer, step: float, bias: np.ndarray | None
    ) -> tuple[ir.Value, ir.Value, np.ndarray]:
        """The weight, with scales so large that the bias fits into int32."""
        if bias is None or not self.form.integer_bias:
            return self._weight(layer.weight, layer.axis)
        floor = (np.abs(bias.astype(np.float64)) / (_LARGEST_BIAS * step)).astype(np.float32)
        values, scale, steps = self._weight(layer.weight, layer.axis)
        if not (floor > steps).any():
            return values, scale, steps
        return self._pack(layer.weight, layer.axis, floor)

    def _zeros(self, steps: np.ndarray) -> ir.Value:
        return add_constant(self.graph, "weight_zero_point", np.zeros(steps.shape, np.int8))

    def _wide(self, values: ir.Value, scale: ir.Value, axis: int, maker: Maker) -> ir.Value:
        """The float form of an int8 weight, made once."""
        if values not in self._widened:
            extra: dict[str, Any] = {"axis": axis} if self.form.per_channel else {}
            self._widened[values] = maker.make("DequantizeLinear", [values, scale], **extra)
        return self._widened[values]


def _attributes(node: ir.Node) -> dict[str, Any]:
    return dict(node.attributes)
