"""What a worker's libraries print, and what of it a person should read."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from modelkit.errors import CannotWrite
from modelkit.safe import safe

_LINES = 20
_LONGEST = 500
_BYTES = 1 << 16

# What libraries say when the limit, or the system, refuses them memory.
_OUT_OF_MEMORY = (
    "bad_alloc",
    "bad allocation",
    "Failed to allocate memory",
    "Cannot allocate memory",
    "OOM when allocating",
    "cannot map zero-fill pages",
)

# The stacks of Python and of faulthandler stay in the log: they tell a user nothing.
_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)*", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_FATAL = re.compile(r"^(Fatal Python error|Windows fatal exception): ", re.MULTILINE)


def tells_out_of_memory(text: str) -> bool:
    """Whether a library's words mean that it got no memory."""
    return any(sign in text for sign in _OUT_OF_MEMORY)


@contextmanager
def opened() -> Iterator["Log"]:
    """A log that is gone after the block.

    Raises:
        CannotWrite: there is no room or no folder for it.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile("w+b"))
        except OSError as error:
            raise CannotWrite(
                "no temporary file can be made",
                cause=safe(str(error)),
                hint="free some space, or set TMPDIR to another folder",
            ) from None
        yield Log(file)


class Log:
    """A file that takes all a child prints."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def fileno(self) -> int:
        """The descriptor to give to the child."""
        return self._file.fileno()

    def words(self) -> str:
        """The last lines printed, without stacks; every line is safe to show."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - _BYTES))
        text = self._file.read().decode(errors="replace")
        fatal = _FATAL.search(text)
        text = _TRACEBACK.sub("", text[: fatal.start()] if fatal else text)
        lines = [line for line in _COLOURS.sub("", text).splitlines() if line.strip()]
        return "\n".join(safe(line, _LONGEST) for line in lines[-_LINES:])

    def keep(self) -> str:
        """Copy all that was printed to a file that stays, for a bug report, and name it."""
        self._file.seek(0)
        try:
            with tempfile.NamedTemporaryFile(
                "wb", prefix="modelkit-", suffix=".log", delete=False
            ) as kept:
                while block := self._file.read(_BYTES):
                    kept.write(block)
        except OSError as error:
            return f"(the log could not be kept: {safe(str(error))})"
        return kept.name
