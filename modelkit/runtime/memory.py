"""How much memory this process holds now."""

import sys
from pathlib import Path


def resident_bytes() -> int:
    """Resident memory in bytes; the peak so far where the system tells no more."""
    status = Path("/proc/self/statm")
    if status.is_file():
        import os

        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
