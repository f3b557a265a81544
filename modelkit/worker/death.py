"""What an exit status says about the end of a process."""

import signal
from dataclasses import dataclass

from modelkit.worker.log import tells_out_of_memory

_NEAR = 0.9
_CROWDED = 0.75  # what a library asked for last may have been large


@dataclass(frozen=True)
class Death:
    """How a worker ended without an answer, and the likely reason."""

    how: str
    why: str
    out_of_memory: bool
    crowded: bool
    """Whether it held so much that native code may have crashed for want of more."""


def examine(code: int, words: str, peak: int, ceiling: int) -> Death:
    """Judge exit status ``code`` (negative: a signal) from what the child printed.

    ``peak`` is the most memory it was seen to hold, ``ceiling`` the most it could get, in bytes: a
    SIGKILL near it came from the system, for lack of memory.
    """
    killed = -code == getattr(signal, "SIGKILL", 0)
    return Death(
        _how(code),
        words or _why(code, killed=killed),
        tells_out_of_memory(words) or (killed and peak > _NEAR * ceiling),
        peak > _CROWDED * ceiling,
    )


def _how(code: int) -> str:
    if code >= 0:  # Windows gives its exceptions as large numbers
        return f"ended with exit code {code if code < 256 else hex(code)}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _why(code: int, *, killed: bool) -> str:
    if killed:
        return "another program or the system ended it; the machine may be short of memory"
    if 0 <= code < 256:
        return "a library ended the process"
    return "native code crashed; the input may be malformed"
