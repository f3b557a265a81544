"""How far a model is from itself: what rounding alone makes of its outputs.

A detector's map that is nearly zero everywhere is the last bits of a sigmoid, a quantized layer
turns a difference in the last place into a whole step.  Changed arithmetic can come no nearer to
such a model than the model comes to itself, so its own distance is what a result is held against.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from modelkit.reports import OutputError
from modelkit.runtime import metrics
from modelkit.runtime.session import Feeds, open_session

SHARE = 3.0
"""A result may be as many times as far from its source as the source is from itself."""
MOST = 0.1
"""No more than this, relative: what is further off is no rounding, or proves nothing."""
_SEED = 20


def own_distance(path: Path, inputs: Sequence[Feeds]) -> dict[str, float]:
    """The relative distance of each float output of the model at ``path`` from itself.

    It is the largest of two over ``inputs``: with float inputs moved by one unit in the
    last place, and with ONNX Runtime's own optimizations on.  Outputs whose shape depends on their
    values, and those not finite, are left out.
    """
    found: dict[str, float] = {}
    with open_session(path, optimize=False) as session:
        plain = [session.run(feeds) for feeds in inputs]
        shaken = [session.run(moved(feeds)) for feeds in inputs]
    with open_session(path, optimize=True) as session:
        optimized = [session.run(feeds) for feeds in inputs]
    for expected, *others in zip(plain, shaken, optimized, strict=True):
        for other in others:
            for name, distance in distances(expected, other):
                found[name] = max(found.get(name, 0.0), distance)
    return found


def allowing(own: Mapping[str, float], errors: Sequence[OutputError]) -> tuple[OutputError, ...]:
    """``errors`` as they are judged beside the distance of the source from itself, by output."""
    judged = []
    for error in errors:
        if error.metric == "relative":
            limit = max(error.limit, min(SHARE * own.get(error.output, 0.0), MOST))
            error = replace(error, limit=limit, passed=error.value <= limit)
        judged.append(error)
    return tuple(judged)


def moved(feeds: Feeds) -> Feeds:
    """``feeds`` with each float up or down by one unit in the last place, or left; zeros stay."""
    random = np.random.default_rng(_SEED)
    found = {}
    for name, value in feeds.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            toward = random.choice([-np.inf, np.inf], value.shape).astype(value.dtype)
            still = (random.integers(0, 3, value.shape) == 0) | (value == 0)
            value = np.where(still, value, np.nextafter(value, toward))
        found[name] = value
    return found


def distances(expected: Feeds, other: Feeds) -> Iterator[tuple[str, float]]:
    """The relative distance of each float output that has the same shape and is finite in both."""
    for name, value in expected.items():
        there = other[name]
        floats = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        if floats and value.shape == there.shape and np.isfinite([value, there]).all():
            yield name, metrics.relative(value, there)
