"""The first tensor in which two models differ, found in a few runs and bounded memory.

A difference, once made, is carried on; so tensors that both models name alike are probed at even
distances, and the part between the last that agrees and the first that does not is probed again.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from modelkit import progress
from modelkit.errors import UsageError
from modelkit.model import Model, load
from modelkit.reports import Divergence
from modelkit.runtime import metrics
from modelkit.runtime.compare import Tolerance
from modelkit.runtime.observe import inner_names, observed
from modelkit.runtime.session import Feeds, Setup
from modelkit.safe import safe

_PROBES = 16


def first_difference(
    a: Path, b: Path, feeds: Feeds, tolerance: Tolerance, setup: Setup
) -> Divergence:
    """The first tensor of both models, in B's order, that is further apart than ``tolerance``.

    Raises:
        UsageError: the models share no tensor by name.
    """
    plain = replace(setup, graph_level="none")
    model = load(b)
    known = set(inner_names(load(a)))
    shared = [name for name in inner_names(model) if name in known]
    if not shared:
        raise UsageError(
            "--layers finds no tensor that both models have by name",
            hint="compare models that come from one export",
        )
    low, high = 0, len(shared)  # everything before low agrees; the answer lies before high
    errors: dict[str, float] = {}
    sessions = 0
    found = ""
    while low < high:
        picked = _picked(shared, low, high)
        progress.step(f"comparing {len(picked)} tensors of {high - low}")
        new = _errors(a, b, picked, feeds, tolerance, plain)
        errors |= new
        sessions += 1
        bad = [name for name in picked if _differs(new[name], tolerance)]
        if not bad:
            if high - low <= len(picked):
                break
            # The last probe is the last tensor of the part: nothing in it is carried on.
            break
        found = bad[0]
        high = shared.index(found)
        good = [name for name in picked if shared.index(name) < high]
        low = shared.index(good[-1]) + 1 if good else low
    return _result(found, model, errors, tolerance, sessions)


def _picked(shared: Sequence[str], low: int, high: int) -> list[str]:
    """At most ``_PROBES`` of the part, evenly, with its last."""
    count = min(_PROBES, high - low)
    places = np.linspace(low - 1, high - 1, count + 1).round().astype(int)[1:]
    return [shared[place] for place in dict.fromkeys(places.tolist())]


def _errors(
    a: Path, b: Path, names: Sequence[str], feeds: Feeds, tolerance: Tolerance, setup: Setup
) -> dict[str, float]:
    with observed(a, names, setup) as one:
        expected = one.run(feeds)
    with observed(b, names, setup) as two:
        actual = two.run(feeds)
    return {name: _error(expected[name], actual[name], tolerance) for name in names}


def _error(a: np.ndarray, b: np.ndarray, tolerance: Tolerance) -> float:
    """Relative error, or SQNR in dB; a share of unequal elements for integers."""
    worst = float("-inf") if tolerance.metric == "sqnr" else float("inf")
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray) or a.shape != b.shape:
        return worst
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        equal = metrics.agreement(a, b)
        return (999.0 if equal == 1 else 0.0) if tolerance.metric == "sqnr" else 1 - equal
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return worst
    here, there = (np.nan_to_num(value.astype(np.float64)) for value in (a, b))
    if tolerance.metric == "sqnr":
        return min(metrics.sqnr(*metrics.energies(here, there)), 999.0)
    return metrics.relative(here, there)


def _differs(error: float, tolerance: Tolerance) -> bool:
    return error < tolerance.limit if tolerance.metric == "sqnr" else error > tolerance.limit


def _result(
    found: str, model: Model, errors: dict[str, float], tolerance: Tolerance, sessions: int
) -> Divergence:
    if not found:
        return Divergence("", "", tolerance.metric, 0.0, len(errors), sessions, {})
    node = next(n for n in model.graph if found in [value.name for value in n.outputs])
    inputs = {
        value.name: errors[value.name]
        for value in node.inputs
        if value is not None and value.name in errors
    }
    producer = f"{safe(node.op_type)} '{safe(node.name or '')}'"
    return Divergence(
        found, producer, tolerance.metric, errors[found], len(errors), sessions, inputs
    )
