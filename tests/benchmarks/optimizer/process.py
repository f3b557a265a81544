"""Run a command and say what it cost: CPU seconds and peak memory, its children included."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY_SECONDS = 0.02
_MEGA = 1e6


@dataclass(frozen=True)
class Cost:
    """What a command cost; ``failure`` says why it gave nothing, "" if it went well."""

    cpu_seconds: float
    peak_mb: float
    failure: str = ""
    output: str = ""


def measured(
    command: Sequence[str], *, seconds: float, folder: Path, environment: Mapping[str, str]
) -> Cost:
    """Run ``command`` in ``folder``; killed with its children after ``seconds``.

    Memory is the largest sum of VmHWM over the processes alive at one time.  ru_maxrss would not
    do: a child starts with its parent's.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=complaints,
            cwd=folder,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        ended = threading.Event()
        watch = _Watch(process.pid, ended)
        watch.start()
        late = threading.Timer(seconds, os.killpg, (process.pid, 9))
        late.start()
        _, status, usage = os.wait4(process.pid, 0)
        timed_out = late.finished.is_set()
        late.cancel()
        ended.set()
        watch.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        complaints.seek(0)
        failure = _failure(process.returncode, timed_out, seconds, complaints.read().decode())
        text = out.read().decode(errors="replace")
    return Cost(usage.ru_utime + usage.ru_stime, watch.peak / _MEGA, failure, text)


def _failure(code: int, timed_out: bool, seconds: float, complaint: str) -> str:
    if timed_out:
        return f"no answer in {seconds:.0f} s"
    if code == 0:
        return ""
    return last_error(complaint) or (f"killed by signal {-code}" if code < 0 else f"exit {code}")


def last_error(text: str) -> str:
    """The line that says most: the last that names an error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line.split(":")[0]]
    return (errors or lines or [""])[-1][:300]


class _Watch(threading.Thread):
    """Looks at a process and its children until told that they ended."""

    def __init__(self, pid: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self.pid, self.ended, self.peak = pid, ended, 0

    def run(self) -> None:
        while not self.ended.wait(_EVERY_SECONDS):
            self.peak = max(self.peak, sum(_peak(pid) for pid in _family(self.pid)))


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
        except OSError:  # it ended meanwhile
            continue
        for child in children:
            found += _family(int(child))
    return found


def _peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it ended meanwhile
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) * 1024 if lines else 0
