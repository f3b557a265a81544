"""Find few nodes that must keep float for the goal to be met.

The nodes are ranked by the noise each adds in simulated half arithmetic; the shortest head of that
list that meets the goal is found by bisection, and what it does not need is then taken out again.
Every try converts the model and runs its simulation: what is found is what will be written.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit import progress
from modelkit.errors import CheckFailed
from modelkit.model import Model, clone, save
from modelkit.precision.convert import convert
from modelkit.precision.plan import Evidence, Wishes, make_plan
from modelkit.precision.ranges import Range
from modelkit.precision.simulate import ROUNDED, simulated
from modelkit.precision.types import is_wide
from modelkit.runtime import metrics
from modelkit.runtime.compare import Tolerance, judge, random_outputs
from modelkit.runtime.session import Feeds, open_session

MAX_TRIES = 300


@dataclass
class Search:
    """What each try needs; ``model`` is prepared, ``expected`` are the source's outputs."""

    model: Model
    half: ir.DataType
    evidence: Evidence
    wishes: Wishes
    ranges: Mapping[str, Range]
    tolerance: Tolerance
    trials: Sequence[Feeds]
    expected: Sequence[Feeds]
    tries: int = 0

    def simulation(self, float_names: frozenset[str]) -> Model:
        """The simulation of a conversion that keeps these nodes in float."""
        copy = clone(self.model)
        wishes = replace(self.wishes, float_names=float_names)
        types, _ = make_plan(copy, self.half, self.evidence, wishes, self.ranges)
        convert(copy, types)
        return simulated(copy)

    def meets(self, float_names: frozenset[str]) -> bool:
        """Whether the goal is met with these nodes in float."""
        self.tries += 1
        progress.step(f"mixed precision, try {self.tries}: {len(float_names)} nodes in float")
        found = self.simulation(float_names)
        try:
            actual = outputs_of(found, self.trials)
            errors = judge(
                zip(self.expected, actual, strict=True), self.tolerance, random_outputs(found)
            )
        except CheckFailed:
            return False
        return all(error.passed for error in errors)


@dataclass(frozen=True)
class Found:
    """The nodes to keep; ``smallest`` is whether leaving out any one of them misses the goal."""

    names: frozenset[str]
    tries: int
    smallest: bool

    def note(self) -> str:
        """What was found, for the report."""
        if not self.names:
            return "mixed precision: the goal is met with no node more in float"
        end = "none can be left out" if self.smallest else "the search ended at its limit"
        return f"mixed precision: {len(self.names)} nodes in float, {self.tries} tries; {end}"


def find_float_nodes(search: Search) -> Found:
    """The nodes that must keep float beside those the rules keep.

    Raises:
        CheckFailed: the goal is missed even with every node in float.
    """
    if search.meets(frozenset()):
        return Found(frozenset(), search.tries, True)
    ranked = rank(search)
    low, high = 0, 1
    while high < len(ranked) and not search.meets(frozenset(ranked[:high])):
        low, high = high, min(2 * high, len(ranked))
    if high >= len(ranked) and not search.meets(frozenset(ranked)):
        raise CheckFailed(
            "the goal is missed with every node in float",
            cause="it lies beyond what two runs of the source itself keep",
            hint="choose a lower --min-sqnr, or a larger --max-error",
            code="outputs-differ",
        )
    while high - low > 1:
        middle = (low + high) // 2
        if search.meets(frozenset(ranked[:middle])):
            high = middle
        else:
            low = middle
    return _reduced(search, ranked[:high])


def _reduced(search: Search, names: list[str]) -> Found:
    """Take out what the goal does not need: halves, quarters, at last one by one."""
    size = max(len(names) // 2, 1)
    while names:
        start, changed = 0, False
        while start < len(names):
            if search.tries >= MAX_TRIES:
                return Found(frozenset(names), search.tries, False)
            rest = names[:start] + names[start + size :]
            if rest and search.meets(frozenset(rest)):
                names, changed = rest, True
            else:
                start += size
        if size == 1 and not changed:
            break
        size = max(size // 2, 1)
    return Found(frozenset(names), search.tries, True)


def rank(search: Search) -> list[str]:
    """Names of the nodes in half, those that add the most noise first.

    A node's noise is that of its output, over signal, less what its inputs brought.  Where values
    cancel, the noise shows one node late: right behind each node come those it reads from.
    """
    copy = clone(search.model)
    types, _ = make_plan(copy, search.half, search.evidence, search.wishes, search.ranges)
    nodes = [node for node in types.slots if types.in_half(node)]
    places = {node: [v.name for v in node.outputs if is_wide(v) and v.name] for node in nodes}
    names = [name for node in nodes for name in places[node] if node.graph is copy.graph]
    noise = _noise(search, names)
    added: dict[str, float] = {}
    for node in nodes:
        out = max((noise.get(name, 0.0) for name in places[node]), default=0.0)
        into = max(
            (noise.get(v.name or "", 0.0) for v in node.inputs if v is not None), default=0.0
        )
        added[node.name or ""] = out - into if np.isfinite(into) else 0.0
    order: dict[str, None] = {}
    for node in sorted(nodes, key=lambda node: -added[node.name or ""]):
        near = [each for each in node.predecessors() if (each.name or "") in added]
        order.update(dict.fromkeys(each.name or "" for each in (node, *near)))
    return list(order)


def _noise(search: Search, names: list[str]) -> dict[str, float]:
    """Noise over signal of each value in simulated half, on the first trial; inf for overflow."""
    trials = search.trials[:1]
    expected = outputs_of(_tapped(search.model, names), trials)[0]
    both = [*names, *(f"{name}{ROUNDED}" for name in names)]
    actual = outputs_of(_tapped(search.simulation(frozenset()), both), trials)[0]
    found = {}
    for name in names:
        if name not in expected or name not in actual:
            continue
        finite = np.isfinite(expected[name])
        half = actual.get(f"{name}{ROUNDED}", actual[name])
        signal, lost = metrics.energies(expected[name][finite], half[finite])
        found[name] = lost / signal if signal else 0.0
        if not np.isfinite(found[name]):
            found[name] = float("inf")
    return found


def _tapped(model: Model, names: list[str]) -> Model:
    copy = clone(model)
    taken = {value.name for value in copy.graph.outputs}
    values = {value.name: value for node in copy.graph for value in node.outputs}
    wanted = (values.get(name) for name in names if name not in taken)
    copy.graph.outputs.extend(value for value in wanted if value is not None)
    return copy


def outputs_of(model: Model, trials: Sequence[Feeds]) -> list[Feeds]:
    """The model's outputs on each trial, with ONNX Runtime's optimizations off."""
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        path = save(clone(model), Path(folder) / "try.onnx")
        with open_session(path, optimize=False) as session:
            return [session.run(feeds) for feeds in trials]
