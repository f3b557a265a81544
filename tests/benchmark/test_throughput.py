import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelkit.benchmark.throughput import throughput
from modelkit.runtime.bench import Candidate
from modelkit.runtime.session import Feeds


def sleeping(seconds: float, together: bool = True) -> Candidate:
    lock = threading.Lock()

    @contextmanager
    def opened() -> Iterator:
        def run(feeds: Feeds) -> Feeds:
            if together:
                time.sleep(seconds)
            else:
                with lock:
                    time.sleep(seconds)
            return {}

        yield run

    return Candidate("s", opened)


def test_callers_that_do_not_wait_for_each_other_add_up() -> None:
    candidates = [sleeping(0.01), sleeping(0.01, together=False)]
    free, locked = throughput(candidates, {}, callers=4, items=2, seconds=0.6)
    assert free == pytest.approx(4 * 2 / 0.01, rel=0.35)
    assert locked == pytest.approx(2 / 0.01, rel=0.35)


def test_what_a_thread_raises_is_raised() -> None:
    @contextmanager
    def opened() -> Iterator:
        calls = []

        def run(feeds: Feeds) -> Feeds:
            calls.append(1)
            if len(calls) > 3:
                raise ValueError("broken")
            return {}

        yield run

    with pytest.raises(ValueError, match="broken"):
        throughput([Candidate("b", opened)], {}, callers=2, items=1, seconds=0.1)
