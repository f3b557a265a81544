"""Write a small graph from nothing: what our own readers of models of tables need."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from modelkit.model import Model

ML = "ai.onnx.ml"
_OPSETS = {"": 18, ML: 3}
_IR_VERSION = 9


class Nodes(Protocol):
    """Where nodes are added; values are known by name."""

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node of one output and return its name."""
        ...

    def constant(self, array: np.ndarray) -> str:
        """Add a constant and return its name."""
        ...


class Draft:
    """A graph in the making; inputs and outputs are those declared, in order."""

    def __init__(self) -> None:
        self._values: dict[str, ir.Value] = {}
        self._nodes: list[ir.Node] = []
        self._constants: list[ir.Value] = []
        self._inputs: list[ir.Value] = []
        self._outputs: list[ir.Value] = []

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare a graph input; ``dtype`` is a numpy name or "str"."""
        self._values[name] = _value(name, dtype, shape)
        self._inputs.append(self._values[name])
        return name

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node of one output and return its name."""
        return self.add_several(op, 1, *inputs, domain=domain, **attributes)[0]

    def add_several(
        self, op: str, count: int, *inputs: str, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node of ``count`` outputs and return their names."""
        attributes = {
            key: ir.tensor(value) if isinstance(value, np.ndarray) else value
            for key, value in attributes.items()
        }
        given = [self._values[name] for name in inputs]
        node = ir.node(op, given, attributes, domain=domain, num_outputs=count)
        names = []
        for index, value in enumerate(node.outputs):
            value.name = f"{op}_{len(self._nodes)}" + (f"_{index}" if index else "")
            self._values[value.name] = value
            names.append(value.name)
        self._nodes.append(node)
        return names

    def constant(self, array: np.ndarray) -> str:
        """Add an initializer and return its name; objects are strings."""
        name = f"constant_{len(self._constants)}"
        if array.dtype == object:
            held: Any = [str(item).encode() for item in array.ravel()]
            tensor: Any = ir.StringTensor(held, shape=ir.Shape(array.shape), name=name)
        else:
            tensor = ir.tensor(array, name=name)
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self._constants.append(value)
        self._values[name] = value
        return name

    def output(self, value: str, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declare ``value`` as the graph output ``name``."""
        last = self._values[self.add("Identity", value)]
        declared = _value(name, dtype, shape)
        last.name, last.type, last.shape = name, declared.type, declared.shape
        self._outputs.append(last)

    def model(self, title: str) -> Model:
        """The finished model."""
        graph = ir.Graph(
            self._inputs,
            self._outputs,
            nodes=self._nodes,
            initializers=self._constants,
            opset_imports=dict(_OPSETS),
            name=title,
        )
        return ir.Model(graph, ir_version=_IR_VERSION, producer_name="modelkit")


def _value(name: str, dtype: str, shape: Sequence[int | str]) -> ir.Value:
    kind = ir.DataType.STRING if dtype == "str" else ir.DataType.from_numpy(np.dtype(dtype))
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(kind))
