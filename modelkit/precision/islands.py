"""Fewer casts: light operators between operators that keep float keep it too.

A Cast reads and writes a whole tensor, as much as the operator it serves.  Where a group of
operators that only move or map values borders on float at more places than on half, it joins the
float side; what that costs is nothing, what it saves is counted in casts.
"""

import onnx_ir as ir

from modelkit.model import Model
from modelkit.precision.convert import LARGE_BYTES, Types, Use, output_uses, uses_of
from modelkit.precision.kinds import LIGHT
from modelkit.precision.rules import Keep
from modelkit.precision.types import is_wide

REASON = "between operators in float: saves casts"
_LARGEST_GROUP = 24
_ROUNDS = 4


def merge_islands(model: Model, types: Types, keep: Keep) -> int:
    """Add to ``keep``, which ``types`` reads, what saves casts; the number of nodes added."""
    outputs = output_uses(model)
    added = 0
    for _ in range(_ROUNDS):
        light = [node for node in types.slots if types.in_half(node) and _is_light(node)]
        before = added
        for group in (*_groups(light), *([node] for node in light)):
            free = [node for node in group if node not in keep]
            if free and _saves(free, types, keep, outputs):
                added += len(free)
        if added == before:
            break
    return added


def casts_needed(model: Model, types: Types) -> int:
    """How many casts a conversion by ``types`` puts in; the graph must not be converted yet."""
    outputs = output_uses(model)
    values: dict[ir.Value, None] = {}
    for node in types.slots:
        values.update(dict.fromkeys(_around(node)))
    return sum(_casts(value, types, outputs) for value in values)


def _is_light(node: ir.Node) -> bool:
    weights = sum(
        value.const_value.nbytes
        for value in node.inputs
        if value is not None and value.const_value is not None and is_wide(value)
    )
    return node.op_type in LIGHT and node.domain in ("", "ai.onnx") and weights < LARGE_BYTES


def _groups(light: list[ir.Node]) -> list[list[ir.Node]]:
    """Light nodes that hang together, by groups small enough to be worth moving as one."""
    members, seen = set(light), set[ir.Node]()
    groups = []
    for start in light:
        if start in seen:
            continue
        group, waiting = [], [start]
        seen.add(start)
        while waiting:
            node = waiting.pop()
            group.append(node)
            for near in (*node.predecessors(), *node.successors()):
                if near in members and near not in seen:
                    seen.add(near)
                    waiting.append(near)
        if 1 < len(group) <= _LARGEST_GROUP:
            groups.append(group)
    return groups


def _saves(
    group: list[ir.Node], types: Types, keep: Keep, outputs: dict[ir.Value, list[Use]]
) -> bool:
    """Whether ``group`` in float needs fewer casts; it then stays in ``keep``."""
    values = dict.fromkeys(value for node in group for value in _around(node))
    before = sum(_casts(value, types, outputs) for value in values)
    keep.update(dict.fromkeys(group, REASON))
    if sum(_casts(value, types, outputs) for value in values) < before:
        return True
    for node in group:
        del keep[node]
    return False


def _around(node: ir.Node) -> list[ir.Value]:
    return [
        value for value in (*node.inputs, *node.outputs) if value is not None and is_wide(value)
    ]


def _casts(value: ir.Value, types: Types, outputs: dict[ir.Value, list[Use]]) -> int:
    if value.const_value is not None and not value.is_graph_input():
        return 0
    other = ir.DataType.FLOAT if types.made_half(value) else types.half
    return int(any(types.wants(use) is other for use in uses_of(value, outputs)))
