"""From which to which value eight bits shall reach: found from samples, in flat memory.

``minmax`` takes all values.  The others look at a histogram of a second run and may cut off the
rarest values: ``percentile`` keeps 99.99 % of them, ``mse`` makes the mean squared error smallest,
``entropy`` the divergence of the quantized from the real distribution (as TensorRT does).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelkit.model import Model
from modelkit.quantize.observe import Samples, observe

METHODS = ("minmax", "percentile", "entropy", "mse")

_BINS = 2048
_LEVELS = 255
_KEPT = 0.9999
_CUTS = np.array([1, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
_ENTROPY_LEVELS = 128


@dataclass(frozen=True)
class Range:
    """From ``low`` <= 0 to ``high`` >= 0, so that zero has a code of its own."""

    low: float
    high: float


def find_ranges(model: Model, methods: Mapping[str, str], samples: Samples) -> dict[str, Range]:
    """The range of each tensor over all samples, each found by its own method.

    Raises:
        CheckFailed: see :func:`observe`.
    """
    found: dict[str, Range] = {}

    def widen(name: str, value: np.ndarray) -> None:
        if value.size:
            old = found.get(name, Range(0.0, 0.0))
            low, high = float(value.min()), float(value.max())
            found[name] = Range(min(old.low, low), max(old.high, high))

    observe(model, list(methods), samples, widen)
    counts = {
        name: np.zeros(_BINS)
        for name, whole in found.items()
        if methods[name] != "minmax" and whole.high > whole.low
    }
    if not counts:
        return found

    def count(name: str, value: np.ndarray) -> None:
        limits = (found[name].low, found[name].high)
        counts[name] += np.histogram(value, bins=_BINS, range=limits)[0]

    observe(model, list(counts), samples, count)
    return found | {name: narrowed(counts[name], found[name], methods[name]) for name in counts}


def narrowed(counts: np.ndarray, whole: Range, method: str) -> Range:
    """The part of ``whole`` that ``method`` keeps; ``counts`` is the histogram over it."""
    if not counts.sum() or whole.high <= whole.low:
        return whole
    return {"percentile": _percentile, "mse": _mse, "entropy": _entropy}[method](counts, whole)


def _percentile(counts: np.ndarray, whole: Range) -> Range:
    edges = np.linspace(whole.low, whole.high, _BINS + 1)
    share = np.cumsum(counts) / counts.sum()
    low = edges[int(np.searchsorted(share, 1 - _KEPT))]
    high = edges[min(int(np.searchsorted(share, _KEPT)) + 1, _BINS)]
    return Range(min(float(low), 0.0), max(float(high), 0.0))


def _mse(counts: np.ndarray, whole: Range) -> Range:
    centers = _centers(whole)
    best, chosen = np.inf, whole
    for low in _CUTS * whole.low if whole.low < 0 else (0.0,):
        for high in _CUTS * whole.high if whole.high > 0 else (0.0,):
            step = (high - low) / _LEVELS
            # Inside, the error is that of rounding; outside, the distance to the limit.
            outside = np.maximum(np.maximum(low - centers, centers - high), 0)
            error = float((counts * np.where(outside > 0, outside**2, step**2 / 12)).sum())
            if error < best:
                best, chosen = error, Range(float(low), float(high))
    return chosen


def _entropy(counts: np.ndarray, whole: Range) -> Range:
    """Cut magnitudes where the quantized distribution is nearest the real one."""
    magnitudes = np.abs(_centers(whole))
    largest = max(-whole.low, whole.high)
    both, edges = np.histogram(magnitudes, bins=_BINS, range=(0, largest), weights=counts)
    best, limit = np.inf, largest
    for kept in range(_ENTROPY_LEVELS, _BINS + 1, _BINS // 64):
        divergence = _divergence(both, kept)
        if divergence < best:
            best, limit = divergence, float(edges[kept])
    return Range(max(whole.low, -limit), min(whole.high, limit))


def _divergence(counts: np.ndarray, kept: int) -> float:
    real = counts[:kept].copy()
    inside = real.copy()
    real[-1] += counts[kept:].sum()
    group = np.arange(kept) * _ENTROPY_LEVELS // kept
    filled = inside > 0
    totals = np.bincount(group, weights=inside, minlength=_ENTROPY_LEVELS)
    members = np.bincount(group, weights=filled, minlength=_ENTROPY_LEVELS)
    spread = np.where(filled, totals[group] / np.maximum(members[group], 1), 0)
    p, q = real / max(real.sum(), 1e-300), spread / max(spread.sum(), 1e-300)
    # Where nothing is kept but something was, the divergence has no end; a floor stands for it.
    return float((p[p > 0] * np.log(p[p > 0] / np.maximum(q[p > 0], 1e-9))).sum())


def _centers(whole: Range) -> np.ndarray:
    edges = np.linspace(whole.low, whole.high, _BINS + 1)
    return np.asarray((edges[:-1] + edges[1:]) / 2)
