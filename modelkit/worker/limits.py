"""How much memory a worker may take, and how much it takes now.

The limit is on private data (RLIMIT_DATA) and on anonymous pages, never on address space: mapped
weights and the reservations of CUDA cost no memory.
"""

import os
import sys
from pathlib import Path

_FLOOR = 4 << 30
_SHARE = 0.8


def default_limit(model_bytes: int) -> int:
    """max(4 GiB, 3 x model), at most 80 % of what the machine or its control group has."""
    wanted = max(_FLOOR, 3 * model_bytes)
    present = machine_memory()
    return min(wanted, int(present * _SHARE)) if present else wanted


def machine_memory() -> int:
    """Bytes of memory this process may ever have; 0 where the system does not tell."""
    found = [_number(Path(path)) for path in (
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    )]  # fmt: skip
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((size for size in found if size > 0), default=0)


def _number(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0


def apply(limit: int) -> None:
    """Limit this process: private data to ``limit`` bytes, no core files."""
    if os.name != "posix":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when ``parent`` dies; elsewhere nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes
    import signal

    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before the request was made


def anonymous_bytes(pid: int) -> int:
    """Anonymous memory of a process and its children, in bytes; 0 where /proc does not tell."""
    total, waiting = 0, [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            for line in (process / "status").read_text().splitlines():
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) * 1024
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (OSError, ValueError):
            continue  # it ended while we looked
    return total
