"""Makes nodes in front of another, and puts their result in its place."""

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from modelkit.model import fresh_name


class Maker:
    """Makes nodes in front of one, and puts their result in its place."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph = graph
        self._node = node
        self._stem = node.name or node.outputs[0].name or node.op_type

    def make(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        *,
        domain: str = "",
        first: bool = False,
        **attributes: Any,
    ) -> ir.Value:
        """A node of one output in front of the node; behind its own input with ``first``."""
        after = inputs[0] if first else None
        return self.make_all(op, inputs, 1, domain=domain, after=after, **attributes)[0]

    def make_all(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        count: int,
        *,
        domain: str = "",
        after: ir.Value | None = None,
        **attributes: Any,
    ) -> list[ir.Value]:
        """A node of ``count`` outputs, in front of the node or right behind ``after``."""
        kept = list(inputs)
        while kept and kept[-1] is None:
            kept.pop()
        node = ir.node(op, kept, attributes, domain=domain, num_outputs=count)
        node.name = fresh_name(self._graph, f"{self._stem}_{op}")
        for index, output in enumerate(node.outputs):
            output.name = fresh_name(self._graph, f"{self._stem}_{op}_{index}")
        maker = after.producer() if after is not None else None
        if maker is not None and maker.graph is self._graph:
            self._graph.insert_after(maker, node)
        elif after is not None and len(self._graph):
            self._graph.insert_before(self._graph[0], node)
        else:
            self._graph.insert_before(self._node, node)
        return list(node.outputs)

    def name(self, value: ir.Value) -> None:
        """Call the node that makes ``value`` as the one it stands for, so that users find it."""
        node = value.producer()
        if node is not None and self._node.name:
            node.name = self._node.name

    def back(self, value: ir.Value, dtype: ir.DataType | None) -> ir.Value:
        """``value`` (float32) in the type the graph goes on with."""
        if dtype is None or dtype == ir.DataType.FLOAT:
            return value
        return self.make("Cast", [value], to=dtype.value)

    def replace(self, node: ir.Node, result: ir.Value) -> None:
        """Let every reader of ``node`` read ``result``, keep the name, and drop the node."""
        old = node.outputs[0]
        result.shape, result.type = old.shape, old.type
        name = old.name
        # A bias Add stands behind the node: what was made must stand in front of its readers.
        ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
        # What was found out about the old value by its name is true of the new one.
        if result.producer() is not None:
            old.name = fresh_name(self._graph, f"{name}_before")
            result.name = name
        self._graph.remove(node, safe=True)
        if node is not self._node and self._node.graph is not None:
            self._graph.remove(self._node, safe=True)
