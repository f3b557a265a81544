"""Go through a model and replace every place where a fusion fits."""

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from modelkit.model import Model
from modelkit.reports import Change, NearMiss
from modelkit.rewrite.capture import Capture
from modelkit.rewrite.expression import EITHER, Expr
from modelkit.rewrite.fusion import Fusion, Pattern
from modelkit.rewrite.match import Match, matches
from modelkit.rewrite.replace import Place, escape, replace

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
    is_sorted = True
    for fusion in fusions:
        for pattern in fusion.patterns:
            for root in _roots(pattern.root):
                for node in index.get(root, ()):
                    if node.graph is graph:
                        done = _try(fusion, pattern, node, model, reasons[fusion.name], tally)
                        is_sorted = is_sorted and not (done and pattern.also)
    if (
        not is_sorted
    ):  # readers of a second replaced value may stand before the operators it has now
        graph.sort()


def _roots(pattern: Expr) -> set[str]:
    if pattern.op == EITHER:
        return {name for part in pattern.operands for name in _roots(part)}
    return {pattern.op}


def _try(
    fusion: Fusion,
    pattern: Pattern,
    node: ir.Node,
    model: Model,
    forbidden: str | None,
    tally: _Tally,
) -> bool:
    first = None
    name = node.name or node.outputs[0].name or ""
    for match in matches(pattern.root, node.outputs[0], Match()):
        place = Place(pattern, match, node)
        captures = {name: Capture(value) for name, value in match.bound.items()}
        reason = escape(place) or _refusal(fusion, captures) or forbidden
        if reason is None:
            made = fusion.after(**_arguments(fusion.after, captures))
            replace(place, made if isinstance(made, tuple) else (made,), model)
            tally.counts[fusion.name] += 1
            tally.places[fusion.name].append(name)
            tally.opset = max(tally.opset, fusion.opset)
            return True
        first = first or reason
    if first is not None:
        tally.misses[fusion.name, name] = NearMiss(fusion.name, name, first)
    return False


def _refusal(fusion: Fusion, captures: dict[str, Capture]) -> str | None:
    if fusion.when is None:
        return None
    return fusion.when(**_arguments(fusion.when, captures))


def _arguments(function: Callable[..., Any], captures: dict[str, Capture]) -> dict[str, Capture]:
    """The captures a function asks for; one that this spelling lacks is an absent value."""
    return {
        name: captures.get(name) or Capture(None) for name in inspect.signature(function).parameters
    }
