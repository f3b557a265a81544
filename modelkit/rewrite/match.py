"""Does an expression fit a value?  All ways it fits, one after the other."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from modelkit.model import const_of
from modelkit.rewrite.expression import EITHER, Expr

COMMUTATIVE = frozenset({"Add", "Mul", "And", "Or", "Xor", "Equal", "Max", "Min", "Sum"})

_TOLERANCE = 1e-4  # exporters round sqrt(2) and 1/sqrt(d) in float32 or even float16
_VARIADIC_LIMIT = 4


@dataclass(frozen=True)
class Match:
    """Names bound to values, the nodes the expression covers, and those others may read.

    ``calls`` holds the node of each operator that has several outputs.
    """

    bound: dict[str, ir.Value | None] = field(default_factory=dict)
    nodes: tuple[ir.Node, ...] = ()
    shared: frozenset[ir.Node] = frozenset()
    calls: dict[object, ir.Node] = field(default_factory=dict)

    def bind(self, name: str, value: ir.Value | None) -> "Match | None":
        """With ``name`` bound too; None when it is bound to something else."""
        if not name:
            return self
        if name in self.bound:
            return self if self.bound[name] is value else None
        return replace(self, bound={**self.bound, name: value})

    def cover(self, node: ir.Node, pattern: Expr) -> "Match | None":
        """With ``node`` covered too; None when ``pattern`` is an output of another node."""
        if self.calls.get(pattern.call, node) is not node:
            return None
        return Match(
            self.bound,
            self.nodes if node in self.nodes else (*self.nodes, node),
            self.shared | {node} if pattern.is_shared else self.shared,
            self.calls if pattern.outputs == 1 else {**self.calls, pattern.call: node},
        )


def matches(pattern: Any, value: ir.Value | None, found: Match) -> Iterator[Match]:
    """Every way ``pattern`` fits ``value``, given what is ``found`` already."""
    if not isinstance(pattern, Expr):
        if _is_literal(pattern, value):
            yield found
        return
    if pattern.op == EITHER:
        for alternative in pattern.operands:
            yield from matches(alternative, value, found)
        return
    if value is None:
        return
    bound = found.bind(pattern.name, value)
    if bound is None:
        return
    if not pattern.op:
        yield bound
        return
    node = value.producer()
    if node is None or not _is_operator(pattern, node) or not _is_output(pattern, node, value):
        return
    if not all(_has_attribute(node, key, want) for key, want in pattern.attributes.items()):
        return
    for order in _orders(pattern, node):
        if _keeps_rank(pattern, order, node):
            covered = bound.cover(node, pattern)
            if covered is not None:
                yield from _all(pattern.operands, order, covered)


def _all(
    patterns: tuple[Any, ...], values: tuple[ir.Value | None, ...], found: Match
) -> Iterator[Match]:
    if not patterns:
        yield found
        return
    for part in matches(patterns[0], values[0], found):
        yield from _all(patterns[1:], values[1:], part)


def _is_operator(pattern: Expr, node: ir.Node) -> bool:
    domain = "" if node.domain == "ai.onnx" else node.domain
    return node.op_type == pattern.op and domain == pattern.domain


def _is_output(pattern: Expr, node: ir.Node, value: ir.Value) -> bool:
    return pattern.output < len(node.outputs) and value is node.outputs[pattern.output]


def _orders(pattern: Expr, node: ir.Node) -> Iterator[tuple[ir.Value | None, ...]]:
    inputs = tuple(node.inputs)
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    wanted = len(pattern.operands)
    if len(inputs) < wanted and all(operand is None for operand in pattern.operands[len(inputs) :]):
        inputs += (None,) * (wanted - len(inputs))
    if len(inputs) != wanted:
        return
    if pattern.op not in COMMUTATIVE or wanted > _VARIADIC_LIMIT:
        yield inputs
        return
    yield from itertools.permutations(inputs)


def _is_literal(literal: Any, value: ir.Value | None) -> bool:
    if literal is None:
        return value is None
    if value is None or (value.const_value is not None and value.const_value.size > 64):
        return False
    array = const_of(value)
    if array is None:
        return False
    if isinstance(literal, np.ndarray):
        return array.shape == literal.shape and bool(np.array_equal(array, literal))
    if array.size != 1 or array.dtype.kind not in "fiub":
        return False
    number = float(array.reshape(-1)[0])
    if not np.isfinite(literal):
        return bool(number == literal)
    return bool(abs(number - literal) <= _TOLERANCE * abs(literal))


def _keeps_rank(pattern: Expr, values: tuple[ir.Value | None, ...], node: ir.Node) -> bool:
    """Whether no literal of the pattern gives the result more axes than the other operand has."""
    if pattern.op not in ("Add", "Sub", "Mul", "Div", "Pow"):
        return True
    literals = [isinstance(operand, int | float) for operand in pattern.operands]
    if not any(literals) or all(literals):
        return True
    other = values[literals.index(False)]
    array = const_of(values[literals.index(True)])
    if array is None or array.ndim == 0:
        return True
    if other is None or other.shape is None:
        return False
    return len(other.shape) >= array.ndim


def _has_attribute(node: ir.Node, key: str, want: Any) -> bool:
    attribute = node.attributes.get(key)
    value = attribute.value if attribute is not None else _default(node, key)
    if isinstance(want, float) and isinstance(value, float):
        return abs(value - want) <= _TOLERANCE * abs(want)
    if isinstance(want, list | tuple):
        return value is not None and tuple(value) == tuple(want)
    return bool(value == want)


def _default(node: ir.Node, key: str) -> Any:
    version = node.version or (node.graph.opset_imports.get(node.domain) if node.graph else None)
    return _schema_defaults(node.op_type, node.domain, version or 1).get(key)


@lru_cache(maxsize=1024)
def _schema_defaults(op_type: str, domain: str, version: int) -> dict[str, Any]:
    try:
        schema = onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return {}
    defaults = {}
    for name, attribute in schema.attributes.items():
        if attribute.default_value.name:
            value = onnx.helper.get_attribute_value(attribute.default_value)
            defaults[name] = value.decode() if isinstance(value, bytes) else value
    return defaults
