"""Recurrent layers in eight bits: an LSTM computes in them, a GRU and an RNN are stored in them.

ONNX Runtime multiplies the inputs and the state of an LSTM as integers (DynamicQuantizeLSTM).  It
has no such kernel for the others: their weights lie in the file as int8 with one scale a row, and
the Cast and Mul that widen them are folded when a session is opened, so that they run as before.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant
from modelkit.passes.maker import Maker
from modelkit.quantize.weights import LARGEST, array_of, home, is_weight, symmetric

RECURRENT = ("LSTM", "GRU", "RNN")
_SMALLEST = 1024


@dataclass
class Recurrent:
    """Quantizes each weight once, however many layers read it.

    ``computed``: an LSTM computes in integers, by an operator that only ONNX Runtime knows; else
    it is stored in them like the others.  ``coarse_states``: one scale for all gates where an LSTM
    multiplies its state, which it does step by step: 1.2x faster, 1.5 dB less.
    """

    per_channel: bool = True
    computed: bool = True
    largest: int = LARGEST
    coarse_states: bool = False
    _stored: dict[tuple[int, ir.Value], ir.Value] = field(default_factory=dict)
    _packed: dict[tuple[int, ir.Value, bool], list[ir.Value]] = field(default_factory=dict)

    def replace(self, node: ir.Node, graph: ir.Graph) -> str | None:
        """Quantize one layer; else why not.  The new node bears the old one's name."""
        reason = unfit(node)
        if reason is not None:
            return reason
        if node.op_type == "LSTM" and self.computed:
            self._integer(node, graph)
        else:
            self._narrow(node, graph)
        return None

    def _integer(self, node: ir.Node, graph: ir.Graph) -> None:
        inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
        fine_states = self.per_channel and not self.coarse_states
        for place, fine in ((1, self.per_channel), (2, fine_states)):
            values, scale, zero = self._pack(node.inputs[place], graph, fine=fine)
            inputs[place] = values
            inputs += [scale, zero]
        attributes: dict[str, Any] = {k: v for k, v in node.attributes.items() if k != "layout"}
        maker = Maker(graph, node)
        made = maker.make_all(
            "DynamicQuantizeLSTM",
            inputs,
            len(node.outputs),
            domain="com.microsoft",
            **attributes,
        )
        maker.name(made[0])
        for old, new in zip(node.outputs, made, strict=True):
            new.shape, new.type, name = old.shape, old.type, old.name
            if name == "":
                new.name = ""
                continue
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            if new.is_graph_output():
                old.name, new.name = f"{name}_before", name
        graph.remove(node, safe=True)

    def _pack(self, weight: ir.Value | None, graph: ir.Graph, *, fine: bool) -> list[ir.Value]:
        """int8 [directions, width, gates], and its scale and zero point for each direction."""
        assert weight is not None
        graph = home(weight, graph)
        key = (id(graph), weight, fine)
        if key not in self._packed:
            array = array_of(weight)
            axis = 1 if fine else None
            parts = [symmetric(part.T, axis, self.largest) for part in array]
            values = np.stack([part for part, _ in parts])
            scale = np.stack([scale.reshape(-1) for _, scale in parts])
            scale = scale if fine else scale.reshape(-1)
            name = weight.name or "weight"
            self._packed[key] = [
                add_constant(graph, f"{name}_quantized", values),
                add_constant(graph, f"{name}_scale", scale),
                add_constant(graph, f"{name}_zero_point", np.zeros(scale.shape, np.int8)),
            ]
        return self._packed[key]

    def _narrow(self, node: ir.Node, graph: ir.Graph) -> None:
        for place in (1, 2):
            weight = node.inputs[place]
            assert weight is not None
            key = (id(graph), weight)
            if key not in self._stored:
                self._stored[key] = _widened(weight, graph, node)
            node.replace_input_with(place, self._stored[key])


def unfit(node: ir.Node) -> str | None:
    """Why a recurrent layer cannot be quantized, None if it can."""
    weights = node.inputs[1:3]
    if not all(is_weight(value) for value in weights):
        return "its weights are not constant"
    assert weights[0] is not None
    if any(value is not None and value.dtype != ir.DataType.FLOAT for value in weights):
        return f"it computes in {weights[0].dtype.name.lower() if weights[0].dtype else '?'}"
    if node.attributes.get_int("layout", 0):
        return "its batch comes first, which ONNX Runtime has no kernel for"
    arrays = [array_of(value) for value in weights]
    if not all(np.isfinite(array).all() for array in arrays):
        return "its weights hold NaN or infinity"
    if sum(array.size for array in arrays) < _SMALLEST:
        return "it is too small for eight bits to matter"
    return None


def _widened(weight: ir.Value, graph: ir.Graph, node: ir.Node) -> ir.Value:
    """The float form of int8 rows."""
    array = array_of(weight)
    values, scale = symmetric(array.reshape(-1, array.shape[-1]), 0)
    name = weight.name or "weight"
    maker = Maker(graph, node)
    packed = add_constant(graph, f"{name}_quantized", values.reshape(array.shape))
    steps = add_constant(graph, f"{name}_scale", scale.reshape(*array.shape[:-1], 1))
    wide = maker.make("Cast", [packed], to=ir.DataType.FLOAT.value)
    result = maker.make("Mul", [wide, steps])
    result.shape, result.type = weight.shape, weight.type
    return result
