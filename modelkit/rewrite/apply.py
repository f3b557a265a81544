"""Go through a model and replace every place where a fusion fits."""

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import onnx_ir as ir

from modelkit.model import Model, graphs
from modelkit.reports import Change, NearMiss
from modelkit.rewrite.capture import Capture
from modelkit.rewrite.expression import EITHER, Expr
from modelkit.rewrite.fusion import Fusion, Pattern
from modelkit.rewrite.match import Match, matches
from modelkit.rewrite.replace import Place, escape, replace
from modelkit.rewrite.winograd import functions_written

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
    finished = {id(model.functions[key].graph) for key in functions_written(model)}
    return list({id(each): each for each in graphs(model) if id(each) not in finished}.values())


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
    is_sorted, present = True, set(index)
    for fusion in fusions:
        for pattern in fusion.patterns:
            if not _needed(pattern.root) <= present:
                continue
            beside = _beside(pattern.root)
            for root in _roots(pattern.root):
                for node in index.get(root, ()):
                    if node.graph is graph and _is_plausible(node, beside):
                        done = _try(fusion, pattern, node, model, reasons[fusion.name], tally)
                        is_sorted = is_sorted and not (done and pattern.also)
    # Readers of a second replaced value may stand before the operators it has now.
    if not is_sorted:
        graph.sort()


@lru_cache(maxsize=4096)
def _roots(pattern: Expr) -> frozenset[str]:
    if pattern.op == EITHER:
        return frozenset(name for part in pattern.operands for name in _roots(part))
    return frozenset((pattern.op,))


@lru_cache(maxsize=4096)
def _needed(pattern: Any) -> frozenset[str]:
    """The operators without which ``pattern`` fits nowhere."""
    if not isinstance(pattern, Expr) or not pattern.op:
        return frozenset()
    parts = [_needed(part) for part in pattern.operands if isinstance(part, Expr)]
    if pattern.op == EITHER:
        return frozenset.intersection(*parts)
    return frozenset((pattern.op,)).union(*parts)


@lru_cache(maxsize=4096)
def _beside(pattern: Expr) -> tuple[frozenset[str], ...]:
    """For each operand that must be an operator's result, which operators those are."""
    if pattern.op == EITHER:
        return ()
    kinds = (_roots(part) for part in pattern.operands if isinstance(part, Expr))
    return tuple(found for found in kinds if "" not in found)


def _is_plausible(node: ir.Node, beside: tuple[frozenset[str], ...]) -> bool:
    """A quick look that spares most nodes the full one."""
    if not beside:
        return True
    makers = [value.producer() if value is not None else None for value in node.inputs]
    kinds = {maker.op_type for maker in makers if maker is not None}
    return all(not wanted.isdisjoint(kinds) for wanted in beside)


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
        refusal = _refusal(fusion, captures)
        if refusal == "":
            continue
        reason = escape(place) or refusal or forbidden
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
    return {name: captures.get(name) or Capture(None) for name in _parameters(function)}


@lru_cache(maxsize=4096)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
