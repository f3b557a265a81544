"""Signals as messages: the work ends in order, at a place of its choosing."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def reported(tell: Callable[[int], None]) -> Iterator[None]:
    """While the block runs, the first SIGINT, SIGTERM or SIGHUP calls ``tell`` with its number.

    A second one acts at once.  Signals that are ignored, or that the program handles in its own
    way, are left alone; so is everything outside the main thread.  A signal that came after the
    block had its result is sent again.
    """
    heard: list[int] = []

    def hear(number: int, frame: object) -> None:
        heard.append(number)
        if len(heard) > 1:
            raise ending(number)
        tell(number)

    former = {name: signal.signal(name, hear) for name in _ours()}
    try:
        yield
    finally:
        for name, handler in former.items():
            signal.signal(name, handler)
    for number in heard:
        signal.raise_signal(number)


def ending(number: int) -> BaseException:
    """How a Python program ends on signal ``number``."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _ours() -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []
    found = [signal.Signals[name] for name in _NAMES if hasattr(signal, name)]
    usual = (signal.SIG_DFL, signal.default_int_handler)
    return [name for name in found if signal.getsignal(name) in usual]
