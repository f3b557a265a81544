"""Items a second when several callers share one session."""

import threading
from collections.abc import Sequence

import numpy as np

from modelkit.runtime.bench import Candidate, Clock, SystemClock
from modelkit.runtime.session import Feeds, Run

_SLICES = 6


def throughput(
    candidates: Sequence[Candidate],
    feeds: Feeds,
    *,
    callers: int,
    items: int,
    seconds: float,
    clock: Clock | None = None,
) -> list[float]:
    """Items a second of each candidate with ``callers`` threads, the median of several slices.

    Candidates take turns, slice by slice, in alternating order.  ``items`` is the batch of
    ``feeds``; ``seconds`` are those of each candidate in all.

    Raises:
        ModelkitError: what a run raised in one of the threads.
    """
    watch = clock or SystemClock()
    rates: list[list[float]] = [[] for _ in candidates]
    order = list(range(len(candidates)))
    for _ in range(_SLICES):
        for index in order:
            with candidates[index].open() as run:
                run(feeds)
                done, took = _slice(run, feeds, callers, seconds / _SLICES, watch)
            rates[index].append(done * items / took)
        order.reverse()
    return [float(np.median(found)) for found in rates]


def _slice(run: Run, feeds: Feeds, callers: int, seconds: float, clock: Clock) -> tuple[int, float]:
    """Runs that all threads finished together, and the wall time from start to last end."""
    counts = [0] * callers
    errors: list[BaseException] = []
    begin = threading.Barrier(callers + 1)

    def call(number: int) -> None:
        begin.wait()
        try:
            while True:
                run(feeds)
                counts[number] += 1
                if clock.wall() >= deadline:
                    return
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    start = clock.wall()
    deadline = start + seconds
    begin.wait()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(counts), max(clock.wall() - start, 1e-9)
