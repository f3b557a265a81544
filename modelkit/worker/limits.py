"""What a worker may take, and that it ends with its parent.

The limit is on private data (RLIMIT_DATA), never on address space: mapped weights and the
reservations of CUDA cost no memory.
"""

import contextlib
import os
import signal
import sys
import threading

from modelkit.worker.memory import machine_memory

_FLOOR = 4 << 30
_SHARE = 0.8
_PR_SET_PDEATHSIG = 1


def default_limit(model_bytes: int) -> int:
    """max(4 GiB, 3 x model), at most 80 % of what the machine or its control group has."""
    wanted = max(_FLOOR, 3 * model_bytes)
    present = machine_memory()
    return min(wanted, int(present * _SHARE)) if present else wanted


def apply(limit: int) -> None:
    """Limit this process: private data to ``limit`` bytes, no core files."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some values
        resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))


def die_with_parent(parent: int, lifeline: int) -> None:
    """End this process when the process ``parent`` ends, however it ends.

    Linux does it by itself, at once; elsewhere a thread waits for the end of the pipe
    ``lifeline``, whose other end the parent holds.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it died before the request was made
    else:
        end_with(lifeline)


def end_with(lifeline: int) -> None:
    """Start a thread that ends this process when nobody holds the pipe's other end."""

    def wait() -> None:
        while os.read(lifeline, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
