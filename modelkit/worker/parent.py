"""What the parent does: start the child, listen, watch time and memory, clean up."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from modelkit.errors import ModelkitError, OutOfMemory, TimedOut, WorkerCrashed, from_fields
from modelkit.safe import safe
from modelkit.worker import limits
from modelkit.worker.child import OUT_OF_MEMORY
from modelkit.worker.verbs import VERBS

Listener = Callable[[str, str], None]
"""Called with "step", "note" or "warning" and the text."""

_TICK = 0.1
_NEAR_LIMIT = 0.9
_TAIL_LINES = 12


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
            and OutOfMemory when a limit ran out.  The error names the step.
        KeyboardInterrupt: the user pressed Ctrl-C; the child is dead and its files are gone.
    """
    limit = memory_limit or limits.default_limit(model_bytes)
    request = {
        "function": function or VERBS[verb],
        "arguments": arguments,
        "memory_limit": limit,
        "parent": os.getpid(),
    }
    with tempfile.TemporaryFile("w+b") as log, _terminable():
        child = subprocess.Popen(
            [sys.executable, "-m", "modelkit.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=os.name == "posix",
        )
        conversation = _Conversation(child, log, verb, limit, listener or _ignore)
        try:
            return conversation.hold(json.dumps(request), timeout)
        finally:
            conversation.end()


class _Conversation:
    """One child, from its request to its end."""

    def __init__(
        self,
        child: "subprocess.Popen[str]",
        log: IO[bytes],
        verb: str,
        limit: int,
        listener: Listener,
    ) -> None:
        self._child = child
        self._log = log
        self._verb = verb
        self._limit = limit
        self._listener = listener
        self._step = "start-up"
        self._peak = 0
        self._temporary: set[str] = set()

    def hold(self, request: str, timeout: float | None) -> dict[str, Any]:
        """Send the request and follow the answers to the last one."""
        deadline = None if timeout is None else time.monotonic() + timeout
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read_into, args=(lines,), daemon=True).start()
        self._send(request)
        while True:
            try:
                line = lines.get(timeout=_TICK)
            except queue.Empty:
                line = None
            if line == "":
                raise self._death()
            if line is not None:
                kind, value = json.loads(line)
                if kind in ("report", "error", "bug"):
                    return self._last(kind, value)
                self._hear(kind, value)
            self._watch(deadline)

    def end(self) -> None:
        """Kill the child's whole group and remove the files it left unfinished."""
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):  # it is gone already
                os.killpg(self._child.pid, signal.SIGKILL)
        else:
            self._child.kill()
        self._child.wait()
        for path in self._temporary:
            Path(path).unlink(missing_ok=True)

    def _send(self, request: str) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; the reader sees its end
            self._child.stdin.write(request + "\n")
            self._child.stdin.close()

    def _read_into(self, lines: "queue.SimpleQueue[str]") -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            lines.put(line)
        lines.put("")

    def _hear(self, kind: str, text: str) -> None:
        if kind == "temporary":
            self._temporary.add(text)
        elif kind == "settled":
            self._temporary.discard(text)
        else:
            if kind == "step":
                self._step = text
            self._listener(kind, text)

    def _last(self, kind: str, value: Any) -> dict[str, Any]:
        if kind == "report":
            return dict(value)
        if kind == "bug":
            raise ModelkitError(
                f"internal error in {self._verb} during {safe(self._step)}",
                cause=safe(str(value), 500),
                hint=f"please report it with {self._kept_log()}; nothing was written",
                code="internal-error",
            )
        error = from_fields(value)
        if isinstance(error, OutOfMemory):
            raise self._out_of_memory()
        raise error

    def _watch(self, deadline: float | None) -> None:
        used = limits.anonymous_bytes(self._child.pid)
        self._peak = max(self._peak, used)
        if used > self._limit:
            raise self._out_of_memory()
        if deadline is not None and time.monotonic() > deadline:
            raise TimedOut(
                f"{self._verb} did not finish in time; it was at: {safe(self._step)}",
                hint="give it more with --timeout; nothing was written",
            )

    def _out_of_memory(self) -> OutOfMemory:
        return OutOfMemory(
            f"{self._verb} reached the memory limit of {self._limit / 2**30:.1f} GiB"
            f" during {safe(self._step)}",
            hint="give it more with --memory-limit; nothing was written",
        )

    def _death(self) -> ModelkitError:
        code = self._child.wait()
        tail = self._tail()
        near = self._peak > _NEAR_LIMIT * self._limit
        if any(sign in tail for sign in OUT_OF_MEMORY) or (code == -9 and near):
            return self._out_of_memory()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return WorkerCrashed(
            f"the worker died with {name} during {safe(self._step)}",
            cause=tail or "native code crashed; the input may be malformed",
            hint="nothing was written; if the file is one you trust, please report it",
        )

    def _tail(self) -> str:
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return "\n".join(safe(line) for line in lines[-_TAIL_LINES:])

    def _kept_log(self) -> str:
        self._log.seek(0)
        with tempfile.NamedTemporaryFile(
            "wb", prefix="modelkit-", suffix=".log", delete=False
        ) as kept:
            kept.write(self._log.read())
        return kept.name


def _ignore(kind: str, text: str) -> None:
    """Nobody listens."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into SystemExit(143) while the block runs, so that it cleans up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
