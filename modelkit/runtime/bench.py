"""Measure fairly: interleaved runs, sessions re-created in turn, intervals instead of one number.

Ratios use CPU time of the process, which a busy machine disturbs least.  Two sessions of one model
differ by more than two runs of one session, and the session created first is about 1.5 % slower
(measured); so every candidate is opened several times, in alternating order, and an interval is
made of what those pairs of sessions say, not of how many runs there were.

Threads that have done their part of a run spin for the next one: 20 ms in ONNX Runtime, a few in
OpenMP.  Beside another candidate they take its CPUs (two sessions of 2 threads on 2 CPUs: 1.8 to
2.7 times as long, measured), so sessions are told to stop spinning when a run ends, and frameworks
are waited for.  Alone on the machine a session takes as long with and without (0.95 to 1.05).
"""

import gc
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from modelkit.reports import Interval, SpeedVerdict
from modelkit.runtime.binding import bound, shared_cache
from modelkit.runtime.providers import CPU, Provider
from modelkit.runtime.session import Feeds, Run, Session, Setup

PAIRS = 6
"""Fewest times each candidate is opened."""

FINE_CPU_CLOCK = sys.platform != "win32"
"""Whether CPU time can tell one run from another; Windows counts it in steps of 15.6 ms."""

_MOST_PAIRS = 12  # twice the pairs make a much narrower interval: worth it where opening is cheap
_FEWEST_RUNS = 3  # in a session, however slow: a median that one disturbance does not move
_MOST_RUNS = 2000  # in a session, however fast
_WARM_SECONDS = 0.1
_CHEAP = 5e-3  # a run shorter than this is repeated untimed, to find its caches as it left them
_DRAWS = 2000
_GATE_SECONDS = 3.0
TOO_SHORT = 50e-6
"""Seconds of a run below which the call itself dominates, and speed is not judged."""
_SLOWER = 0.98
_STILL = {"session.force_spinning_stop": "1"}
_REST, _MOST_RESTS = 1e-3, 50  # seconds of a look, and looks, until a framework's threads sleep
_RESTING = 0.2  # of one CPU
_AVAILABLE = 0.8  # of the CPUs that threads want; beside other work 0.5 to 0.7, alone 0.97 and more


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
    """Something to time: ``open`` gives the function to run, and closes it afterwards.

    One that ``spins`` keeps CPUs busy for a while after its runs.
    """

    name: str
    open: Callable[[], AbstractContextManager[Run]]
    spins: bool = False


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


@dataclass(frozen=True)
class _Plan:
    seconds: float
    runs: int
    warmup: int
    pairs: int


def interleave(
    candidates: Sequence[Candidate],
    feeds: Feeds,
    *,
    seconds: float,
    runs: int = 0,
    warmup: int = 0,
    pairs: int = 0,
    clock: Clock | None = None,
    seed: int = 0,
) -> list[Samples]:
    """Time ``candidates`` on ``feeds``, all of them alive at once, again and again anew.

    Each round runs every candidate once, in a random order, so that all meet the same machine.

    Args:
        candidates: what to time.
        feeds: the inputs of every run.
        seconds: of timed runs per candidate in all, at most 2000 runs a session; each session gets
            three however long they take.  Opening and warming up come on top.
        runs: so many timed runs per candidate instead, rounded up to as many in each session.
        warmup: runs before the timed ones of a session; 0: by time.
        pairs: times each candidate is opened, an even number; 0: six, or up to twelve as long as
            opening takes no longer than the timed runs.
        clock: replaced by tests.
        seed: of the random orders.
    """
    if pairs < 0 or pairs % 2:
        raise ValueError(f"an even number of pairs is needed, not {pairs}")
    plan = _Plan(seconds, runs, warmup, pairs)
    race = _Race(candidates, feeds, plan, clock or SystemClock(), random.Random(seed))
    number, wanted = 0, pairs or PAIRS
    while number < wanted:
        wanted = race.pair(number, wanted)
        number += 1
    return race.samples


class _Race:
    """Candidates on one clock, pair of sessions after pair of sessions."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        feeds: Feeds,
        plan: _Plan,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self.candidates, self.feeds, self.plan = candidates, feeds, plan
        self.clock, self.chance = clock, chance
        self.samples = [Samples() for _ in candidates]

    def pair(self, number: int, pairs: int) -> int:
        """Open all, time all, close all; gives how many pairs there shall be."""
        order = list(range(len(self.candidates)))
        if number % 2:
            order.reverse()
        start = self.clock.wall()
        with ExitStack() as stack:
            functions: dict[int, Run] = {}
            slowest = 0.0
            for index in order:
                functions[index] = self._opened(index, stack)
                slowest = max(slowest, self._warmed(functions[index]))
            if number == 0 and not (self.plan.pairs or self.plan.runs):
                pairs = self._affordable(self.clock.wall() - start)
            with _no_collection():
                self._rounds(functions, order, pairs, settle=slowest < _CHEAP)
            functions.clear()
        gc.collect()
        return pairs

    def _opened(self, index: int, stack: ExitStack) -> Run:
        start = self.clock.wall()
        run = stack.enter_context(self.candidates[index].open())
        loaded = self.clock.wall()
        run(self.feeds)
        self.samples[index].load.append(loaded - start)
        self.samples[index].first.append(self.clock.wall() - loaded)
        return run

    def _warmed(self, run: Run) -> float:
        """Run untimed until nothing is cold any more; gives the seconds of the last run."""
        begun = self.clock.wall()
        count = 0
        while True:
            start = self.clock.wall()
            run(self.feeds)
            end = self.clock.wall()
            count += 1
            enough = end - begun >= _WARM_SECONDS
            if count >= self.plan.warmup if self.plan.warmup else enough:
                return end - start

    def _affordable(self, opening: float) -> int:
        budget = self.plan.seconds * len(self.candidates)
        return int(np.clip(budget / max(opening, 1e-9) // 2 * 2, PAIRS, _MOST_PAIRS))

    def _rounds(
        self, functions: dict[int, Run], order: list[int], pairs: int, *, settle: bool
    ) -> None:
        clock, feeds = self.clock, self.feeds
        fewest, most = _FEWEST_RUNS, _MOST_RUNS
        if self.plan.runs:
            fewest = most = -(-self.plan.runs // pairs)
        for samples in self.samples:
            samples.wall.append([])
            samples.cpu.append([])
        deadline = clock.wall() + self.plan.seconds * len(order) / pairs
        count = 0
        while count < fewest or (count < most and clock.wall() < deadline):
            count += 1
            self.chance.shuffle(order)
            for index in order:
                run, samples = functions[index], self.samples[index]
                if settle:
                    run(feeds)
                cpu, wall = clock.cpu(), clock.wall()
                run(feeds)
                wall_end, cpu_end = clock.wall(), clock.cpu()
                samples.wall[-1].append(wall_end - wall)
                samples.cpu[-1].append(cpu_end - cpu)
                if self.candidates[index].spins:
                    _rest(clock)


def _rest(clock: Clock) -> None:
    """Wait until this process takes no CPU any more, at most 50 ms."""
    for _ in range(_MOST_RESTS):
        cpu, wall = clock.cpu(), clock.wall()
        time.sleep(_REST)
        if clock.cpu() - cpu <= _RESTING * (clock.wall() - wall):
            return


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def ratio(old: Samples, new: Samples, *, wall: bool = False, seed: int = 0) -> Interval:
    """Old time over new time (above 1: new is faster) with its 95 % bootstrap interval.

    CPU time is compared, or ``wall`` time.  A pair of sessions counts as one observation, the
    ratio of its medians: its runs saw the same rounds, and how far they scatter is already in how
    far the pairs do.  Pairs are drawn with replacement among those of one order of creation, which
    takes the effect of that order out; the spread of the draws is widened by Student's t, because
    few pairs show too little of it.

    ``old`` and ``new`` come from one :func:`interleave` of at least four pairs.
    """
    times = (old.wall, new.wall) if wall else (old.cpu, new.cpu)
    logs = np.array([_log_ratio(*pair) for pair in zip(*times, strict=True)])
    drawing = np.random.default_rng(seed)
    orders = (logs[0::2], logs[1::2])
    half = min(order.size for order in orders)
    if half < 2:
        raise ValueError(f"{logs.size} pairs of sessions are too few, four are needed")
    drawn = [order[drawing.integers(0, order.size, (_DRAWS, order.size))] for order in orders]
    spread = float(np.concatenate(drawn, axis=1).mean(axis=1).std()) * (half / (half - 1)) ** 0.5
    center, reach = float(logs.mean()), _student(logs.size - 2) * spread
    low, high = np.exp(center - reach), np.exp(center + reach)
    return Interval(float(np.exp(center)), float(low), float(high))


def _log_ratio(old: Sequence[float], new: Sequence[float]) -> float:
    return float(np.log(max(np.median(old), 1e-12) / max(np.median(new), 1e-12)))


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t; from 5 on by Abramowitz and Stegun 26.7.5."""
    few = {2: 4.303, 3: 3.182, 4: 2.776}
    if freedom in few:
        return few[freedom]
    z = 1.959964
    one = (z**3 + z) / (4 * freedom)
    two = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return z + one + two + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)


def onnx_candidate(
    path: Path, *, name: str = "", setup: Setup | None = None, io_binding: bool = False
) -> Candidate:
    """A model file as a candidate, without the checks of feeds between the clocks.

    With ``io_binding`` inputs lie where the first provider wants them and outputs stay there, so
    that copies are not timed.  A cache that the model updates in place is bound in any case.  Its
    threads do not spin between runs, unless the session options of ``setup`` say so.
    """
    chosen = setup or Setup()
    chosen = replace(chosen, session_options={**_STILL, **chosen.session_options})

    @contextmanager
    def opened() -> Iterator[Run]:
        with chosen.open(path) as session:
            binding = io_binding or shared_cache(session) is not None
            yield bound(session, chosen.providers[0]) if binding else _unchecked(session)

    return Candidate(name or path.name, opened)


def _unchecked(session: Session) -> Run:
    raw, names = session.raw, [port.name for port in session.outputs]

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        try:
            raw.run(names, feeds)
        except Exception:
            session.run(feeds)  # says in our words what is wrong
            raise
        # The caller knows the outputs; a dict of them here would cost time.
        return {}

    return run


def gate(
    old: Path,
    new: Path,
    feeds: Feeds,
    *,
    providers: Sequence[Provider] = (CPU,),
    seconds: float = _GATE_SECONDS,
    threads: int = 1,
) -> SpeedVerdict:
    """Whether the model ``new`` may replace ``old`` on so many threads; see :func:`judge`."""
    setup = Setup(providers=tuple(providers), threads=threads)
    before, after = (onnx_candidate(path, setup=setup) for path in (old, new))
    wall = tuple(providers) != (CPU,) or threads != 1 or not FINE_CPU_CLOCK
    return judge(before, after, feeds, wall=wall, seconds=seconds, threads=threads)


def judge(
    old: Candidate,
    new: Candidate,
    feeds: Feeds,
    *,
    wall: bool = False,
    seconds: float = _GATE_SECONDS,
    clock: Clock | None = None,
    threads: int = 1,
) -> SpeedVerdict:
    """Whether ``new`` may replace ``old``: not if it is surely more than 2 % slower.

    Refused when the upper bound of old/new is below 0.98.  Not judged when both take less than
    50 µs a run, because the overhead of a call then dominates.  ``seconds`` are those of timed
    runs per candidate; ``wall`` compares wall time, for work that is not done on the CPU or by
    more than one thread.  Nor is judged what ran on ``threads`` while other work had their CPUs.
    """
    if all(_is_short(candidate, feeds, clock or SystemClock()) for candidate in (old, new)):
        return SpeedVerdict(None, True, "not judged: a run takes less than 50 µs")
    old_times, new_times = interleave([old, new], feeds, seconds=seconds, clock=clock)
    used = "1 thread" if threads == 1 else f"{threads} threads"
    if threads != 1:
        taken = [np.median(each.all_cpu() / each.all_wall()) for each in (old_times, new_times)]
        if max(taken) < _AVAILABLE * threads:
            reason = f"not judged on {used}: they got {max(taken):.1f} CPUs"
            return SpeedVerdict(None, True, reason)
    found = ratio(old_times, new_times, wall=wall)
    if found.high < _SLOWER:
        where = f" on {used}" * (threads != 1)
        return SpeedVerdict(found, False, f"slower than the source{where}")
    kind = "wall" if wall else "CPU"
    return SpeedVerdict(found, True, f"{used}, {kind} time, {len(old_times.cpu)} session pairs")


def _is_short(candidate: Candidate, feeds: Feeds, clock: Clock) -> bool:
    with candidate.open() as run:
        run(feeds)
        seconds = []
        for _ in range(5):
            start = clock.wall()
            run(feeds)
            seconds.append(clock.wall() - start)
            if seconds[-1] > 10 * TOO_SHORT:
                return False
    return min(seconds) < TOO_SHORT
