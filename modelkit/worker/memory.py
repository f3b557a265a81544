"""How much memory the machine gives, and how much a process takes."""

import os
from pathlib import Path

# Version 1 of control groups writes "no limit" as a number near 2**63.
_UNLIMITED = 1 << 60


def machine_memory() -> int:
    """Bytes of memory this process may ever have; 0 where the system does not tell."""
    present = 0
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _least(present, control_group_limit())


def free_memory() -> int:
    """Bytes that could be had now without swapping; 0 where the system does not tell."""
    available = _field(Path("/proc/meminfo"), ("MemAvailable:",))
    return _least(available, control_group_limit())


def control_group_limit(
    membership: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> int:
    """The tightest memory limit of this process's control groups (v1 or v2); 0 without one."""
    limits = []
    for line in _text(membership).splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = mounted / "memory" if controllers else mounted
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        # In a container the path may be the host's: then only the root of the mount is there.
        folder = root / group.lstrip("/")
        places = [folder, *(up for up in folder.parents if up.is_relative_to(root))]
        limits += [_number(place / name) for place in places]
    return _least(*limits)


def anonymous_bytes(pid: int) -> int:
    """Anonymous memory of a process and its descendants, in bytes; 0 where /proc does not tell.

    Pages of mapped files are not counted: the system can take them back.
    """
    total, waiting = 0, [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        total += _field(process / "status", ("RssAnon:", "RssShmem:"))
        try:
            for task in (process / "task").iterdir():
                waiting += map(int, _text(task / "children").split())
        except OSError:
            continue  # it ended while we looked
    return total


def _least(*sizes: int) -> int:
    return min((size for size in sizes if 0 < size < _UNLIMITED), default=0)


def _field(path: Path, names: tuple[str, ...]) -> int:
    lines = (line.split() for line in _text(path).splitlines() if line.startswith(names))
    return sum(int(words[1]) * 1024 for words in lines)


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""  # another system, or the process has ended
