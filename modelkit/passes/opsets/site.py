"""The node a rule respells, and what rules do to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of, fresh_name
from modelkit.passes.opsets.schemas import refusal
from modelkit.passes.surgery import ints, replace


@dataclass
class Site:
    """A node to respell, where it stands, and the nodes made beside it."""

    model: Model
    graph: ir.Graph
    node: ir.Node
    made: list[ir.Node] = field(default_factory=list)

    def constant(self, array: np.ndarray) -> ir.Value:
        """A new initializer."""
        stem = f"{self.node.outputs[0].name}_const"
        name = fresh_name(self.model.graph, stem)
        tensor = ir.tensor(array, name=name)
        value = ir.Value(
            name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape),
            const_value=tensor,
        )  # fmt: skip
        self.model.graph.register_initializer(value)
        return value

    def insert(self, kind: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """A new node before this one, of the same element type."""
        made = ir.node(kind, inputs, attributes)
        value = made.outputs[0]
        value.name = fresh_name(self.model.graph, f"{self.node.outputs[0].name}_{kind}")
        made.name, value.type = value.name, self.node.outputs[0].type
        self.graph.insert_before(self.node, made)
        self.made.append(made)
        return value

    def become(self, value: ir.Value) -> None:
        """Let ``value``, made beside the node, stand for the node's only output."""
        value.shape = self.node.outputs[0].shape
        assert replace(self.node.outputs[0], value)
        self.graph.remove(self.node, safe=True)


def drop_inputs(node: ir.Node, kept: int) -> None:
    """Keep the first ``kept`` inputs."""
    for place in range(kept, len(node.inputs)):
        node.replace_input_with(place, None)
    node.resize_inputs(min(kept, len(node.inputs)))


def has(node: ir.Node, place: int) -> bool:
    """Whether input ``place`` is given."""
    return place < len(node.inputs) and node.inputs[place] is not None


def constants(node: ir.Node, place: int) -> list[int]:
    """The integers of input ``place``; refused where they are computed."""
    found = ints(node, place)
    if found is None:
        raise refusal(node, f"input {place} is computed, it would have to be constant")
    return found


def scalar(node: ir.Node, place: int) -> float:
    """The one number of input ``place``; refused where it is computed."""
    array = const_of(node.inputs[place])
    if array is None or array.size != 1:
        raise refusal(node, f"input {place} is computed, it would have to be constant")
    return float(array.reshape(()))
