"""The child as a process: start it, talk to it, end it with all it started."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from modelkit.errors import ModelkitError
from modelkit.safe import safe

_PROGRAM = Path(__file__).with_name("__main__.py")
_PATIENCE = 5.0


class Child:
    """A spawned worker in a process group of its own; leaving the block kills it.

    Its stdout becomes the channel of answers, all it prints goes to the descriptor ``log``.
    """

    def __init__(self, log: int) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-u", str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                errors="replace",
                start_new_session=os.name == "posix",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise ModelkitError(
                "the worker process could not be started", cause=safe(str(error))
            ) from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        with contextlib.suppress(OSError):  # what was not yet sent is of no use now
            self._input.close()

    def tell(self, *lines: str) -> None:
        """Send lines; the pipe stays open, because its end tells the child that we died."""
        with contextlib.suppress(BrokenPipeError):  # it died at once; the reader sees its end
            self._input.write("".join(f"{line}\n" for line in lines))
            self._input.flush()

    def answers(self) -> Iterator[str]:
        """Its lines, until it closes the channel."""
        with self._output:
            yield from self._output

    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def code(self) -> int:
        """Its exit status, negative for a signal; killed if it closed the channel but runs on."""
        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait(_PATIENCE)

    def kill(self) -> None:
        """Kill it and what it started, and wait until it is gone."""
        if os.name == "posix":
            # Gone already; macOS refuses when only zombies are left.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        elif not self.ended():
            subprocess.run(
                ["taskkill", "/F", "/T", "/PID", str(self.pid)], capture_output=True, check=False
            )
        # A process stuck in a driver or on a network file system cannot be waited for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
