"""The machine under a measurement: its name, and whether it was slowed down meanwhile."""

import math
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from modelkit.runtime.bench import Samples

_THROTTLE = "devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"
_SIBLINGS = "devices/system/cpu/cpu{}/topology/thread_siblings_list"
_QUOTA = "fs/cgroup/cpu.max"
_DRIFT = 1.10  # later sessions of every candidate against earlier ones
_FEWEST = 8  # runs in a session, or its median says too little


def machine_name() -> str:
    """Processor and cores, as a table's title."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores"


def instruction_set() -> str:
    """What decides which CPU kernels run, as "x86-64 avx512", "x86-64 avx2" or "arm64"."""
    architecture = platform.machine().lower()
    if architecture not in ("x86_64", "amd64"):
        return {"aarch64": "arm64"}.get(architecture, architecture)
    told = np.show_config(mode="dicts") or {}
    found = set(told.get("SIMD Extensions", {}).get("found", ()))
    widths = (("avx512", {"X86_V4", "AVX512F", "AVX512_SKX"}), ("avx2", {"X86_V3", "AVX2"}))
    return next((f"x86-64 {name}" for name, signs in widths if signs & found), "x86-64")


def usable_cores(root: Path = Path("/sys")) -> int:
    """The cores that this process may use: ONNX Runtime starts a thread on each by default.

    A container that gets the time of fewer CPUs has as many.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cpus = os.sched_getaffinity(0)
    places = (root / _SIBLINGS.format(cpu) for cpu in cpus)
    groups = {place.read_text().strip() for place in places if place.is_file()}
    return min(len(groups) or len(cpus), _granted(root / _QUOTA))


def _granted(quota: Path) -> int:
    """CPUs whose time the control group (cgroup v2) gives, rounded up."""
    words = quota.read_text().split() if quota.is_file() else []
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return sys.maxsize
    return max(1, math.ceil(int(words[0]) / max(1, int(words[1]))))


def throttle_count(root: Path = Path("/sys")) -> int:
    """How often the kernel saw a core too hot since it started; 0 where it does not tell."""
    counts = (file.read_text().strip() for file in root.glob(_THROTTLE))
    return sum(int(count) for count in counts if count.isdecimal())


def slowed(timed: Sequence[Samples], throttled: int) -> Iterator[str]:
    """What speaks for a machine that was slowed down while it measured."""
    if throttled:
        yield f"the processor was too hot {throttled} times and slowed down; cool it and repeat"
    drifts = [_drift(samples) for samples in timed]
    if drifts and min(drifts) > _DRIFT:
        yield (
            f"everything got {min(drifts) - 1:.0%} slower from the first sessions to the last:"
            " the processor was slowed down (heat, power, other work)"
        )


def _drift(samples: Samples) -> float:
    """Median time of the last third of the sessions over that of the first."""
    medians = [float(np.median(runs)) for runs in samples.cpu if len(runs) >= _FEWEST]
    third = len(medians) // 3
    if not third:
        return 1.0
    return float(np.median(medians[-third:]) / max(float(np.median(medians[:third])), 1e-12))
