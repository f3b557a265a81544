"""Measure fairly: interleaved runs, sessions re-created in turn, intervals instead of one number.

Ratios use CPU time of the process, which a busy machine disturbs least.  The session created
first is about 1.5 % slower (measured), so the order of creation alternates from pair to pair; the
difference between two sessions of one model is larger than that between two runs, so the
bootstrap draws whole pairs of sessions, then runs within them.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from modelkit.reports import Interval, SpeedVerdict
from modelkit.runtime.providers import CPU, Provider
from modelkit.runtime.session import Feeds, Run, open_session

PAIRS = 6
"""Fewest times each candidate is opened again."""

_FEWEST_RUNS = 4
_DRAWS = 1000
_GATE_SECONDS = 6.0
_TOO_SHORT = 50e-6
_SLOWER = 0.98


class Clock(Protocol):
    """Seconds that only grow: of the wall, and of this process's CPUs."""

    def wall(self) -> float:
        """Wall time in seconds."""

    def cpu(self) -> float:
        """CPU time of all threads of this process in seconds."""


class SystemClock:
    """The machine's own clocks."""

    wall = staticmethod(time.perf_counter)
    cpu = staticmethod(time.process_time)


@dataclass(frozen=True)
class Candidate:
    """Something to time: ``open`` gives the function to run, and closes it afterwards."""

    name: str
    open: Callable[[], AbstractContextManager[Run]]


@dataclass
class Samples:
    """What was seen of one candidate; seconds; one list of runs for each time it was opened."""

    wall: list[list[float]] = field(default_factory=list)
    cpu: list[list[float]] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)

    def all_wall(self) -> np.ndarray:
        """Every wall time, in seconds."""
        return np.concatenate([np.array(runs) for runs in self.wall])

    def all_cpu(self) -> np.ndarray:
        """Every CPU time, in seconds."""
        return np.concatenate([np.array(runs) for runs in self.cpu])


def interleave(
    candidates: Sequence[Candidate],
    feeds: Feeds,
    *,
    seconds: float,
    runs: int = 0,
    pairs: int = PAIRS,
    clock: Clock | None = None,
    seed: int = 0,
) -> list[Samples]:
    """Time ``candidates`` on ``feeds``, all of them alive at once, ``pairs`` times anew.

    Each round runs every candidate once, in a random order.  ``seconds`` is the whole time per
    candidate; ``runs`` > 0 is the number of timed runs per candidate instead.
    """
    clock = clock or SystemClock()
    random = np.random.default_rng(seed)
    samples = [Samples() for _ in candidates]
    for pair in range(pairs):
        order = list(range(len(candidates)))
        if pair % 2:
            order.reverse()
        _one_pair(candidates, order, feeds, samples, clock, random, seconds, runs, pairs)
        gc.collect()
    return samples


def _one_pair(
    candidates: Sequence[Candidate],
    order: list[int],
    feeds: Feeds,
    samples: list[Samples],
    clock: Clock,
    random: np.random.Generator,
    seconds: float,
    runs: int,
    pairs: int,
) -> None:
    opened: dict[int, AbstractContextManager[Run]] = {}
    functions: dict[int, Run] = {}
    slowest = 0.0
    try:
        for index in order:
            start = clock.wall()
            opened[index] = candidates[index].open()
            functions[index] = opened[index].__enter__()
            loaded = clock.wall()
            functions[index](feeds)
            ran = clock.wall()
            samples[index].load.append(loaded - start)
            samples[index].first.append(ran - loaded)
            functions[index](feeds)
            slowest = max(slowest, clock.wall() - ran)
        rounds = _rounds(seconds / pairs, runs, pairs, slowest)
        for index in order:
            samples[index].wall.append([])
            samples[index].cpu.append([])
        for _ in range(rounds):
            for index in random.permutation(order):
                _time_one(functions[index], feeds, samples[index], clock)
    finally:
        functions.clear()
        for context in opened.values():
            context.__exit__(None, None, None)


def _rounds(seconds: float, runs: int, pairs: int, slowest: float) -> int:
    if runs > 0:
        return max(1, -(-runs // pairs))
    return max(_FEWEST_RUNS, int(seconds / max(slowest, 1e-6)))


def _time_one(run: Run, feeds: Feeds, samples: Samples, clock: Clock) -> None:
    cpu, wall = clock.cpu(), clock.wall()
    run(feeds)
    wall_end, cpu_end = clock.wall(), clock.cpu()
    samples.wall[-1].append(wall_end - wall)
    samples.cpu[-1].append(cpu_end - cpu)


def ratio(old: Samples, new: Samples, *, seed: int = 0) -> Interval:
    """Old time over new time (above 1: new is faster) with its 95 % bootstrap interval.

    The estimate is the mean over pairs of the ratio of medians; the bootstrap draws pairs of
    sessions with replacement, and runs within each (two-stage, Davison and Hinkley 1997, 3.8).
    """
    random = np.random.default_rng(seed)
    pairs = list(zip(old.cpu, new.cpu, strict=True))
    logs = np.array([_log_ratio(np.array(a), np.array(b)) for a, b in pairs])
    draws = np.empty(_DRAWS)
    arrays = [(np.array(a), np.array(b)) for a, b in pairs]
    inner = np.array(
        [[_log_ratio(random.choice(a, a.size), random.choice(b, b.size)) for _ in range(60)]
         for a, b in arrays]
    )  # fmt: skip
    for number in range(_DRAWS):
        chosen = random.integers(0, len(pairs), len(pairs))
        draws[number] = inner[chosen, random.integers(0, inner.shape[1], len(pairs))].mean()
    # A sample of few pairs shows too little of their spread: widen it as Student's t does.
    widen = np.sqrt(len(pairs) / max(len(pairs) - 1, 1)) * _STUDENT.get(len(pairs), 1.0)
    center = float(logs.mean())
    low, high = (center + (float(np.quantile(draws, q)) - center) * widen for q in (0.025, 0.975))
    low, high = min(low, center), max(high, center)
    return Interval(float(np.exp(center)), float(np.exp(low)), float(np.exp(high)))


# t quantile (97.5 %, n - 1 degrees of freedom) over the normal one.
_STUDENT = {2: 6.48, 3: 2.2, 4: 1.62, 5: 1.42, 6: 1.31, 7: 1.25, 8: 1.21, 10: 1.15, 12: 1.12}


def _log_ratio(old: np.ndarray, new: np.ndarray) -> float:
    return float(np.log(max(np.median(old), 1e-12) / max(np.median(new), 1e-12)))


def onnx_candidate(
    path: Path,
    *,
    name: str = "",
    providers: Sequence[Provider] = (CPU,),
    threads: int = 1,
    allow_fallback: bool = False,
) -> Candidate:
    """A model file as a candidate, without the checks of feeds between the clocks."""

    @contextmanager
    def opened() -> Iterator[Run]:
        with open_session(
            path, providers=providers, threads=threads, allow_fallback=allow_fallback
        ) as session:
            raw, names = session.raw, [port.name for port in session.outputs]

            def run(feeds: Feeds) -> dict[str, np.ndarray]:
                # The caller knows the outputs; a dict here would cost time.
                raw.run(names, feeds)
                return {}

            yield run

    return Candidate(name or path.name, opened)


def gate(old: Path, new: Path, feeds: Feeds) -> SpeedVerdict:
    """Whether ``new`` may replace ``old``: not if it is surely more than 2 % slower.

    Refused when the upper bound of old/new is below 0.98; runs below 50 µs are not judged,
    because the overhead of a call dominates them.
    """
    candidates = [onnx_candidate(old), onnx_candidate(new)]
    old_times, new_times = interleave(candidates, feeds, seconds=_GATE_SECONDS / 2)
    found = ratio(old_times, new_times)
    if float(np.median(old_times.all_cpu())) < _TOO_SHORT:
        return SpeedVerdict(found, True, "not judged: a run takes less than 50 µs")
    if found.high < _SLOWER:
        return SpeedVerdict(found, False, "slower than the source")
    return SpeedVerdict(found, True, "1 thread, CPU time, interleaved")
