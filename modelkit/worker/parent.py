"""What the parent does: start the child, listen, watch time and memory, clean up."""

import json
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelkit.errors import (
    ModelkitError,
    OutOfMemory,
    TimedOut,
    UsageError,
    WorkerCrashed,
    from_fields,
)
from modelkit.safe import safe
from modelkit.worker import death, limits, log, memory, signals
from modelkit.worker.process import Child
from modelkit.worker.verbs import VERBS

Listener = Callable[[str, str], None]
"""Called with "step", "note" or "warning" and the text."""

_TICK = 0.1
_SOURCES = ("source", "path", "a")
_LAST = ("report", "error", "memory", "bug")


def run(
    verb: str,
    arguments: dict[str, Any],
    *,
    timeout: float | None = None,
    memory_limit: int | None = None,
    model_bytes: int = 0,
    listener: Listener | None = None,
    function: str = "",
) -> dict[str, Any]:
    """Run ``verb`` in a child process and return its report as JSON fields.

    ``timeout`` is in seconds, ``memory_limit`` and ``model_bytes`` in bytes; ``function``
    ("module:name") runs something that is not in the table of verbs.

    Raises:
        ModelkitError: what the verb raised; WorkerCrashed when a signal killed the child, TimedOut
            and OutOfMemory when a limit ran out.  The error names the step; its ``__notes__`` hold
            what libraries printed.
        KeyboardInterrupt, SystemExit: on SIGINT, and on SIGTERM or SIGHUP; the child is dead and
            its unfinished files are gone.
    """
    if not function and verb not in VERBS:
        raise UsageError(f"there is no verb '{safe(verb)}'", hint=f"known: {', '.join(VERBS)}")
    limit = memory_limit or limits.default_limit(model_bytes)
    request = {
        "function": function or VERBS[verb],
        "arguments": arguments,
        "memory_limit": limit,
        "parent": os.getpid(),
    }
    messages: queue.SimpleQueue[str | int] = queue.SimpleQueue()
    with (
        log.opened() as printed,
        tempfile.TemporaryDirectory(prefix="modelkit-", ignore_cleanup_errors=True) as scratch,
        signals.reported(messages.put),
        Child(printed.fileno()) as child,
    ):
        talk = _Conversation(verb, arguments, limit, listener or _ignore, printed, child, messages)
        try:
            return talk.hold({**request, "scratch": scratch}, timeout)
        except ModelkitError as error:
            error.add_note(printed.words())
            raise
        finally:
            talk.end()


def _ignore(kind: str, text: str) -> None:
    """Nobody listens."""


class _Conversation:
    """One child, from its request to its end."""

    def __init__(
        self,
        verb: str,
        arguments: dict[str, Any],
        limit: int,
        listener: Listener,
        printed: log.Log,
        child: Child,
        messages: "queue.SimpleQueue[str | int]",
    ) -> None:
        self._task = _task(verb, arguments)
        self._limit = limit
        self._listener = listener
        self._printed = printed
        self._child = child
        self._messages = messages
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._step = "start-up"
        self._unfinished: set[str] = set()
        self._free = memory.free_memory()
        self._peak = 0
        self._next_look = 0.0

    def hold(self, request: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Send the request and follow the answers to the last one."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._reader.start()
        self._child.tell(json.dumps([str(place) for place in sys.path]), json.dumps(request))
        while True:
            message = self._next()
            if message == "":
                raise self._death()
            if isinstance(message, int):
                raise signals.ending(message)
            if message is not None:
                kind, value = _parsed(message)
                if kind in _LAST:
                    return self._last(kind, value)
                self._hear(kind, value)
            self._watch(deadline, timeout)

    def end(self) -> None:
        """Kill the child and all it started, and remove the files it left unfinished."""
        self._child.kill()
        self._reader.join(timeout=1)
        while not self._messages.empty():  # it may have finished a file since we last listened
            message = self._messages.get()
            if isinstance(message, str):
                self._follow(*_parsed(message))
        for path in self._unfinished:
            Path(path).unlink(missing_ok=True)

    def _next(self) -> str | int | None:
        """A line of the child, "" at its end, the number of a signal, or None after a while."""
        try:
            return self._messages.get(timeout=_TICK)
        except queue.Empty:
            # A process it forked may hold the pipe open.
            return "" if self._child.ended() and self._messages.empty() else None

    def _read(self) -> None:
        for line in self._child.answers():
            self._messages.put(line)
        self._messages.put("")

    def _hear(self, kind: str, value: Any) -> None:
        self._follow(kind, value)
        if kind == "step":
            self._step = safe(value)
        if kind in ("step", "note", "warning"):
            self._listener(kind, value)

    def _follow(self, kind: str, value: Any) -> None:
        if kind == "temporary":
            self._unfinished.add(value)
        elif kind == "settled":
            self._unfinished.discard(value)

    def _last(self, kind: str, value: Any) -> dict[str, Any]:
        if kind == "report":
            return dict(value)
        if kind == "memory":
            raise self._out_of_memory(cause=value)
        if kind == "bug":
            raise ModelkitError(
                f"internal error in {self._task} during {self._step}",
                cause=safe(value, 500),
                hint=f"please report it with the log {self._printed.keep()}",
                code="internal-error",
            )
        error = from_fields(value)
        if isinstance(error, OutOfMemory) and not error.hint:
            error.hint = self._out_of_memory().hint
        raise error

    def _watch(self, deadline: float | None, timeout: float | None) -> None:
        now = time.monotonic()
        if deadline is not None and now > deadline:
            raise TimedOut(
                f"{self._task} did not finish in {timeout:g} s; it was at: {self._step}",
                hint="give it more with --timeout",
            )
        if now < self._next_look:
            return
        self._next_look = now + _TICK
        used = memory.anonymous_bytes(self._child.pid)
        self._peak = max(self._peak, used)
        if used > self._limit:
            raise self._out_of_memory()

    def _out_of_memory(self, cause: str = "") -> OutOfMemory:
        return OutOfMemory(
            f"{self._task} reached the memory limit of {_readable(self._limit)}"
            f" during {self._step}",
            cause=safe(cause, 500),
            hint="give it more with --memory-limit",
        )

    def _death(self) -> ModelkitError:
        ceiling = min(self._limit, self._free or self._limit)
        end = death.examine(self._child.code(), self._printed.words(), self._peak, ceiling)
        if end.out_of_memory:
            return self._out_of_memory()
        hint = f"if you trust the file, please report it with the log {self._printed.keep()}"
        if end.crowded:
            held = f"{_readable(self._peak)} of the {_readable(self._limit)} it may have"
            hint = (
                f"it held {held}, and libraries crash where they get no more: try --memory-limit "
                f"{max(1, 3 * self._limit >> 30)}GB; {hint}"
            )
        return WorkerCrashed(
            f"the worker {end.how} during {self._step} ({self._task})", cause=end.why, hint=hint
        )


def _parsed(line: str) -> tuple[str, Any]:
    """Kind and value; a line cut short by death, or printed before the child took over, is none."""
    try:
        kind, value = json.loads(line)
    except (ValueError, TypeError):
        return "", None
    return str(kind), value


def _task(verb: str, arguments: dict[str, Any]) -> str:
    """The verb and the file it works on."""
    source = next((v for k in _SOURCES if isinstance(v := arguments.get(k), str)), "")
    return f"{verb} of {safe(source)}" if source else verb


def _readable(size: int) -> str:
    """Bytes in the units of ``--memory-limit``."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
