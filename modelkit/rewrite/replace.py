"""Put new operators where a pattern was found: the only code of the engine that changes a graph."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, fresh_name
from modelkit.rewrite.capture import Capture
from modelkit.rewrite.expression import Expr
from modelkit.rewrite.fusion import Pattern
from modelkit.rewrite.match import Match
from modelkit.rewrite.winograd import define

_FARTHEST = 500
"""Operators looked at before a second replaced value is taken to be needed by the first."""


@dataclass(frozen=True)
class Place:
    """Where a pattern was found."""

    pattern: Pattern
    match: Match
    root: ir.Node

    @property
    def graph(self) -> ir.Graph:
        """The graph it stands in."""
        assert isinstance(self.root.graph, ir.Graph)
        return self.root.graph

    @property
    def replaced(self) -> list[ir.Value | None]:
        """The values that get others in their place; None where this spelling lacks one."""
        found: list[ir.Value | None] = [self.root.outputs[0]]
        for part in self.pattern.also:
            node = self.match.calls.get(part.call)
            if node is None:
                found.append(self.match.bound.get(part.name))
            else:
                found.append(node.outputs[part.output] if part.output < len(node.outputs) else None)
        return found


def escape(place: Place) -> str | None:
    """Why the covered nodes cannot go: somebody else needs what they make."""
    inside, replaced = set(place.match.nodes), place.replaced
    for value, user in left_over(place):
        if user is None:
            return f"'{value.name}' is an output of the graph"
        if _other_source(user, place) is None:
            return f"'{value.name}' is read elsewhere too"
    for second in (value for value in replaced[1:] if value is not None):
        if _leads_to([user for user, _ in second.uses() if user not in inside], inside):
            return f"'{second.name}' is also read on the way to '{place.root.outputs[0].name}'"
    return None


def left_over(place: Place) -> Iterator[tuple[ir.Value, ir.Node | None]]:
    """Values that would vanish, each with an operator outside that reads it (None: the graph)."""
    inside, replaced = set(place.match.nodes), place.replaced
    for node in place.match.nodes:
        if node in place.match.shared:
            continue
        for value in node.outputs:
            if any(value is other for other in replaced):
                continue
            if value.is_graph_output():
                yield value, None
            for user, _ in value.uses():
                if user not in inside:
                    yield value, user


def _leads_to(readers: Sequence[ir.Node], goal: set[ir.Node]) -> bool:
    waiting, seen = list(readers), set(readers)
    while waiting:
        if len(seen) > _FARTHEST:
            return True
        for value in waiting.pop().outputs:
            for user, _ in value.uses():
                if user in goal:
                    return True
                if user not in seen:
                    seen.add(user)
                    waiting.append(user)
    return False


def _other_source(reader: ir.Node, place: Place) -> tuple[ir.Value, int, int] | None:
    """A value that stays, and which of its axes, have the dims that a Shape operator reads."""
    if reader.op_type != "Shape" or reader.domain not in ("", "ai.onnx"):
        return None
    value = reader.inputs[0]
    if value is None or value.shape is None:
        return None
    first = reader.attributes.get_int("start", 0)
    wanted = list(value.shape)[first : reader.attributes.get_int("end", len(value.shape))]
    if any(not isinstance(dim, int) and dim.value is None for dim in wanted):
        return None
    inside = set(place.match.nodes)
    for other in place.match.bound.values():
        if other is None or other.shape is None or other.producer() in inside:
            continue
        dims = list(other.shape)
        for start in range(len(dims) - len(wanted) + 1):
            whole = start == 0 and len(dims) == len(wanted) and not reader.attributes
            if dims[start : start + len(wanted)] == wanted and (whole or _can_slice(reader)):
                return other, start, start + len(wanted)
    return None


def _can_slice(shape: ir.Node) -> bool:
    version = shape.version or (shape.graph.opset_imports.get("") if shape.graph else None)
    return (version or 0) >= 15


def replace(place: Place, expressions: Sequence[Any], model: Model) -> None:
    """Build ``expressions`` and let them stand for the values the place replaces, in that order."""
    graph, root = place.graph, place.root
    _move_readers(place)
    built = _Built(graph, root.outputs[0])
    pairs = [
        (old, built.value(expression))
        for old, expression in zip(place.replaced, expressions, strict=True)
        if old is not None
    ]
    for index, (old, new) in enumerate(pairs):
        if old.is_graph_output() and (new.producer() not in built.made or new.is_graph_output()):
            pairs[index] = old, built.copy(new)
    graph.insert_before(root, built.made)
    for node in built.made:
        if node.domain:
            model.graph.opset_imports.setdefault(node.domain, 1)
            graph.opset_imports.setdefault(node.domain, 1)
            define(node, model)
    for old, new in pairs:
        if new.producer() in built.made:
            new.shape, new.type = old.shape, old.type
        name = old.name
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        if new.is_graph_output() and new.producer() in built.made:
            old.name = fresh_name(graph, f"{name}_before")
            new.name = name
    _remove(place.match.nodes)


def _move_readers(place: Place) -> None:
    for _, user in list(left_over(place)):
        source = None if user is None else _other_source(user, place)
        if user is None or source is None:
            continue
        value, start, end = source
        user.replace_input_with(0, value)
        if user.attributes or value.shape is None or (start, end) != (0, len(value.shape)):
            user.attributes["start"] = ir.AttrInt64("start", start)
            user.attributes["end"] = ir.AttrInt64("end", end)


def _remove(nodes: Iterable[ir.Node]) -> None:
    """Remove ``nodes`` that nobody reads any more, and what was made for them alone."""
    waiting = list(nodes)
    while waiting:
        left: list[ir.Node] = []
        for node in waiting:
            read = any(value.uses() or value.is_graph_output() for value in node.outputs)
            if read or node.graph is None:
                left.append(node)
                continue
            makers = [value.producer() for value in node.inputs if value is not None]
            node.graph.remove(node, safe=True)
            left += [maker for maker in makers if maker is not None]
        if left == waiting:
            return
        waiting = list(dict.fromkeys(left))


class _Built:
    """The operators of a replacement; an expression used twice is built once."""

    def __init__(self, graph: ir.Graph, like: ir.Value) -> None:
        self.graph = graph
        self.like = like
        self.made: list[ir.Node] = []
        self._calls: dict[object, ir.Node] = {}

    def value(self, operand: Any) -> ir.Value:
        """The value of an operand of ``after``: of the graph, a constant, or newly computed."""
        if isinstance(operand, Capture):
            assert operand.value is not None
            return operand.value
        if not isinstance(operand, Expr):
            return self._constant(operand)
        node = self._calls.get(operand.call)
        if node is None:
            node = self._calls[operand.call] = self._node(operand)
        return node.outputs[operand.output]

    def copy(self, value: ir.Value) -> ir.Value:
        """``value`` under a name of its own, for an output of the graph."""
        return self._appended(ir.node("Identity", [value]))

    def _constant(self, operand: Any) -> ir.Value:
        array = operand
        if isinstance(operand, int | float):
            kind = self.like.dtype.numpy() if self.like.dtype is not None else np.float32
            array = np.asarray(operand, dtype=kind)
        return add_constant(self.graph, f"{self.like.name}_constant", array)

    def _node(self, made: Expr) -> ir.Node:
        inputs = [
            None
            if part is None or (isinstance(part, Capture) and part.value is None)
            else self.value(part)
            for part in made.operands
        ]
        while inputs and inputs[-1] is None:
            inputs.pop()
        attributes = {key: value for key, value in made.attributes.items() if value is not None}
        node = ir.node(made.op, inputs, attributes, domain=made.domain, num_outputs=made.outputs)
        self._appended(node)
        return node

    def _appended(self, node: ir.Node) -> ir.Value:
        for value in node.outputs:
            value.name = fresh_name(self.graph, f"{self.like.name}_{node.op_type}")
        node.name = node.outputs[0].name
        self.made.append(node)
        return node.outputs[0]
