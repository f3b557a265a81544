"""Replace every place where a fusion fits: the only code of the engine that changes a graph."""

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, fresh_name
from modelkit.reports import Change, NearMiss
from modelkit.rewrite.capture import Capture
from modelkit.rewrite.expression import EITHER, Expr
from modelkit.rewrite.fusion import Fusion
from modelkit.rewrite.match import Match, matches

Allow = Callable[[Fusion], str | None]

_ROUNDS = 8
_NOTES = 200


@dataclass
class Applied:
    """What was replaced, what almost was, and the lowest opset the new operators need."""

    changes: tuple[Change, ...]
    near_misses: tuple[NearMiss, ...]
    opset_needed: int


@dataclass
class _Tally:
    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    misses: dict[tuple[str, str], NearMiss] = field(default_factory=dict)
    opset: int = 0


def apply(fusions: Sequence[Fusion], model: Model, *, allow: Allow) -> Applied:
    """Apply ``fusions`` everywhere, larger patterns first, until none fits any more.

    ``allow`` gives the reason to leave a fusion out; where it would have fitted, that is a near
    miss.  Cost is linear in the nodes for each round.
    """
    tally = _Tally()
    ordered = sorted(fusions, key=lambda fusion: (fusion.order, -fusion.size, fusion.name))
    reasons = {fusion.name: allow(fusion) for fusion in ordered}
    for _ in range(_ROUNDS):
        before = sum(tally.counts.values())
        for block in _blocks(model):
            _apply_to(block, model, ordered, reasons, tally)
        if sum(tally.counts.values()) == before:
            break
    changes = tuple(
        Change(name, count, tuple(tally.places[name][:_NOTES]))
        for name, count in tally.counts.items()
    )
    return Applied(changes, tuple(tally.misses.values()), tally.opset)


def _blocks(model: Model) -> list[ir.Graph]:
    found = [model.graph, *model.graph.subgraphs()]
    for function in model.functions.values():
        found += [function.graph, *function.graph.subgraphs()]
    return list({id(graph): graph for graph in found}.values())


def _apply_to(
    graph: ir.Graph,
    model: Model,
    fusions: Sequence[Fusion],
    reasons: dict[str, str | None],
    tally: _Tally,
) -> None:
    index: dict[str, list[ir.Node]] = defaultdict(list)
    for node in graph:
        index[node.op_type].append(node)
    for fusion in fusions:
        for pattern in fusion.patterns:
            for root in _roots(pattern):
                for node in index.get(root, ()):
                    if node.graph is graph:
                        _try(fusion, pattern, node, graph, model, reasons[fusion.name], tally)


def _roots(pattern: Expr) -> set[str]:
    if pattern.op == EITHER:
        return {name for part in pattern.operands for name in _roots(part)}
    return {pattern.op}


def _try(
    fusion: Fusion,
    pattern: Expr,
    node: ir.Node,
    graph: ir.Graph,
    model: Model,
    forbidden: str | None,
    tally: _Tally,
) -> None:
    reason = None
    for match in matches(pattern, node.outputs[0], Match()):
        captures = {name: Capture(value) for name, value in match.bound.items()}
        reason = _escape(match, node) or _refusal(fusion, captures) or forbidden
        if reason is None:
            _replace(fusion, match, captures, node, graph, model)
            tally.counts[fusion.name] += 1
            tally.places[fusion.name].append(node.name or node.outputs[0].name or "")
            tally.opset = max(tally.opset, fusion.opset)
            return
    if reason is not None:
        name = node.name or node.outputs[0].name or ""
        tally.misses[fusion.name, name] = NearMiss(fusion.name, name, reason)


def _refusal(fusion: Fusion, captures: dict[str, Capture]) -> str | None:
    if fusion.when is None:
        return None
    return fusion.when(**_arguments(fusion.when, captures))


def _arguments(function: Callable[..., Any], captures: dict[str, Capture]) -> dict[str, Capture]:
    """The captures a function asks for; one that this spelling lacks is an absent value."""
    return {
        name: captures.get(name) or Capture(None) for name in inspect.signature(function).parameters
    }


def _escape(match: Match, root: ir.Node) -> str | None:
    """Why the covered nodes cannot go: somebody else reads what they make."""
    inside = set(match.nodes)
    for node in match.nodes:
        if node is root or node in match.shared:
            continue
        for value in node.outputs:
            if value.is_graph_output():
                return f"'{value.name}' is an output of the graph"
            if any(user not in inside for user, _ in value.uses()):
                return f"'{value.name}' is read elsewhere too"
    return None


def _replace(
    fusion: Fusion,
    match: Match,
    captures: dict[str, Capture],
    root: ir.Node,
    graph: ir.Graph,
    model: Model,
) -> None:
    old = root.outputs[0]
    made: list[ir.Node] = []
    expression = fusion.after(**_arguments(fusion.after, captures))
    new = _built(expression, old, graph, made)
    graph.insert_before(root, made)
    for node in made:
        if node.domain:
            model.graph.opset_imports.setdefault(node.domain, 1)
            graph.opset_imports.setdefault(node.domain, 1)
    if new.producer() in made:
        new.shape, new.type = old.shape, old.type
    name = old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    if new.is_graph_output() and new.producer() in made:
        old.name = fresh_name(graph, f"{name}_before")
        new.name = name
    _remove(match.nodes)


def _remove(nodes: Iterable[ir.Node]) -> None:
    """Remove the covered nodes that nobody reads any more, users before makers."""
    waiting = list(nodes)
    while waiting:
        left = []
        for node in waiting:
            read = any(value.uses() or value.is_graph_output() for value in node.outputs)
            if read or node.graph is None:
                left.append(node)
            else:
                node.graph.remove(node, safe=True)
        if len(left) == len(waiting):
            return
        waiting = left


def _built(operand: Any, like: ir.Value, graph: ir.Graph, made: list[ir.Node]) -> ir.Value:
    if isinstance(operand, Capture):
        assert operand.value is not None
        return operand.value
    if not isinstance(operand, Expr):
        array = operand
        if isinstance(operand, int | float):
            kind = like.dtype.numpy() if like.dtype is not None else np.float32
            array = np.asarray(operand, dtype=kind)
        return add_constant(graph, f"{like.name}_constant", array)
    inputs = [
        None
        if part is None or (isinstance(part, Capture) and part.value is None)
        else _built(part, like, graph, made)
        for part in operand.operands
    ]
    while inputs and inputs[-1] is None:
        inputs.pop()
    attributes = {key: value for key, value in operand.attributes.items() if value is not None}
    node = ir.node(operand.op, inputs, attributes, domain=operand.domain)
    node.outputs[0].name = fresh_name(graph, f"{like.name}_{operand.op}")
    node.name = node.outputs[0].name
    made.append(node)
    return node.outputs[0]
