"""Say which step runs now, so that a crash or time-out can name it and a person can watch.

Libraries call :func:`step`; who listens is decided once, by :func:`listen`.  With no listener the
call costs nothing and prints nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Kind = Literal["step", "note", "warning", "temporary", "settled"]
Listener = Callable[[Kind, str], None]

_listener: Listener | None = None


def listen(listener: Listener | None) -> None:
    """Send every later message of this process to ``listener``; None stops it."""
    global _listener
    _listener = listener


def step(name: str) -> None:
    """Announce the step that starts now, as a short phrase ("shape inference")."""
    _send("step", name)


def note(text: str) -> None:
    """Tell something worth knowing that changes nothing."""
    _send("note", text)


def warn(text: str) -> None:
    """Tell something the user should act on; shown also with ``--quiet``."""
    _send("warning", text)


def temporary(path: str) -> None:
    """Announce a file about to be made that must not outlive the work."""
    _send("temporary", path)


def settled(path: str) -> None:
    """Take back :func:`temporary`: the file is in its final place, or gone."""
    _send("settled", path)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Give the list of notes that are sent while the block runs, each once."""
    global _listener
    before, notes = _listener, list[str]()

    def listener(kind: Kind, text: str) -> None:
        if kind == "note":
            if text in notes:
                return
            notes.append(text)
        if before is not None:
            before(kind, text)

    _listener = listener
    try:
        yield notes
    finally:
        _listener = before


def _send(kind: Kind, text: str) -> None:
    if _listener is not None:
        _listener(kind, text)
