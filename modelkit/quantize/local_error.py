"""How wrong each layer alone is in eight bits: its noise, and the shift that can be taken back.

Each layer is computed twice in one session, as it is and with rounded weights and inputs, both on
exact inputs.  The mean difference of a channel is a bias that can be corrected; correcting the
whole network at once by its own outputs diverges, so this stays local.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, clone, const_of
from modelkit.passes.maker import Maker
from modelkit.quantize.emit import Form, parameters
from modelkit.quantize.linears import constant_bias
from modelkit.quantize.observe import Samples, observe
from modelkit.quantize.plan import Layer, Plan
from modelkit.quantize.ranges import Range
from modelkit.quantize.weights import array_of, symmetric
from modelkit.runtime import metrics


@dataclass
class LocalError:
    """Sums over all samples: the layer's energy, that of its error, and the error by channel."""

    signal: float = 0.0
    noise: float = 0.0
    shift: np.ndarray | None = None
    count: int = 0

    @property
    def sqnr(self) -> float:
        """Signal over noise in dB; 999 without noise."""
        return min(metrics.sqnr(self.signal, self.noise), 999.0)

    @property
    def mean(self) -> np.ndarray:
        """The mean error of each channel."""
        assert self.shift is not None
        return np.asarray(self.shift / max(self.count, 1))


def local_errors(
    model: Model, plan: Plan, ranges: Mapping[str, Range], form: Form, samples: Samples
) -> dict[str, LocalError]:
    """The error of each planned layer by its name; ``model`` is not changed."""
    copy = clone(model)
    nodes = {output.name: node for node in copy.graph for output in node.outputs}
    plain: dict[str, tuple[str, int]] = {}
    differences: dict[str, str] = {}
    for layer in plan.layers:
        node = nodes[layer.node.outputs[0].name]
        reach = ranges.get(layer.x.name or "")
        if reach is None:
            continue
        name = node.outputs[0].name or ""
        plain[name] = (layer.name, 1 if layer.is_conv else -1)
        differences[_twin(copy.graph, node, layer, reach, form)] = name
    found = {name: LocalError() for name, _ in plain.values()}

    def see(name: str, value: np.ndarray) -> None:
        error = found[plain[differences.get(name, name)][0]]
        if name not in differences:
            error.signal += float(np.square(value, dtype=np.float64).sum())
            return
        axis = plain[differences[name]][1]
        rows = np.moveaxis(value, axis, -1).reshape(-1, value.shape[axis]).astype(np.float64)
        error.noise += float(np.square(rows).sum())
        error.count += len(rows)
        total = rows.sum(axis=0)
        error.shift = total if error.shift is None else error.shift + total

    if plain:
        observe(copy, [*plain, *differences], samples, see)
    return found


def correct_biases(graph: ir.Graph, plan: Plan, errors: Mapping[str, LocalError]) -> int:
    """Add the mean error of each layer to its bias, in a new constant; the number corrected."""
    count = 0
    for layer in plan.layers:
        error = errors.get(layer.name)
        if error is None or error.shift is None or not error.count:
            continue
        shift = error.mean.astype(np.float32)
        node = layer.node
        if layer.is_conv:
            old = const_of(node.inputs[2]) if len(node.inputs) > 2 else None
            bias = add_constant(graph, f"{layer.name}_bias", shift if old is None else old + shift)
            node.resize_inputs(3)
            node.replace_input_with(2, bias)
        else:
            found = constant_bias(node)
            if found is not None:
                reader, vector = found
                bias = add_constant(graph, f"{vector.name}_corrected", array_of(vector) + shift)
                side = 0 if reader.inputs[0] is vector else 1
                reader.replace_input_with(side, bias)
            else:
                layer.node = _new_bias(graph, node, shift)
        count += 1
    return count


def _new_bias(graph: ir.Graph, node: ir.Node, shift: np.ndarray) -> ir.Node:
    output = node.outputs[0]
    maker = Maker(graph, node)
    bias = add_constant(graph, f"{node.name}_bias", shift)
    again = maker.make("MatMul", [node.inputs[0], node.inputs[1]])
    again.type = output.type
    maker.name(again)
    maker.replace(node, maker.make("Add", [again, bias]))
    changed = again.producer()
    assert changed is not None
    return changed


def _twin(graph: ir.Graph, node: ir.Node, layer: Layer, reach: Range, form: Form) -> str:
    """Compute ``node`` once more with rounded values; the name of exact minus rounded."""
    maker = Maker(graph, node)
    x, weight = node.inputs[0], node.inputs[1]
    step, zero = parameters(reach, unsigned=form.unsigned)
    scale = add_constant(graph, "twin_scale", np.array(step, np.float32))
    kind = np.uint8 if form.unsigned else np.int8
    point = add_constant(graph, "twin_zero", np.array(zero, kind))
    values = maker.make("QuantizeLinear", [x, scale, point])
    rounded = maker.make("DequantizeLinear", [values, scale, point])
    attributes: dict[str, Any] = dict(node.attributes)
    packed, steps = symmetric(
        array_of(weight), layer.axis if form.per_channel else None, form.largest
    )
    coarse = add_constant(graph, "twin_weight", packed * steps)
    again = maker.make(node.op_type, [rounded, coarse, *node.inputs[2:]], **attributes)
    output = maker.make("Sub", [node.outputs[0], again])
    # The twin reads the node's own result, so it must stand behind it.
    subtraction = output.producer()
    assert subtraction is not None
    graph.remove(subtraction)
    graph.insert_after(node, subtraction)
    assert output.name is not None
    return output.name
