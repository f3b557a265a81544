import signal
import threading
from collections.abc import Iterator

import pytest

from modelkit.worker import signals


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_signal_is_told_and_the_second_acts() -> None:
    told: list[int] = []
    with pytest.raises(SystemExit) as caught, signals.reported(told.append):
        signal.raise_signal(signal.SIGINT)
        assert told == [signal.SIGINT]
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 143
    assert told == [signal.SIGINT]


def test_a_signal_that_found_no_ear_is_sent_again() -> None:
    with pytest.raises(KeyboardInterrupt), signals.reported(lambda number: None):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_come_back() -> None:
    with signals.reported(lambda number: None):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ignored_and_foreign_handlers_are_left_alone() -> None:
    foreign: list[int] = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: foreign.append(number))
    with signals.reported(lambda number: pytest.fail("told")):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert foreign == [signal.SIGTERM]


def test_other_threads_touch_no_handler() -> None:
    seen: list[object] = []

    def work() -> None:
        with signals.reported(lambda number: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
