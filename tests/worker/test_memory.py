import gc
import os
import subprocess
import sys
from pathlib import Path

from modelkit.worker import memory


def test_the_machine_has_memory_and_some_is_free() -> None:
    assert memory.machine_memory() >= memory.free_memory() > 0


def groups(tmp_path: Path, membership: str, limits: dict[str, str]) -> int:
    told = tmp_path / "cgroup"
    told.write_text(membership)
    for place, text in limits.items():
        path = tmp_path / "mounted" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return memory.control_group_limit(told, tmp_path / "mounted")


def test_the_tightest_group_above_counts(tmp_path: Path) -> None:
    limits = {
        "user/job/memory.max": "max",
        "user/memory.max": "1000",
        "memory.max": "2000",
        "other/memory.max": "5",
    }
    assert groups(tmp_path, "0::/user/job\n", limits) == 1000


def test_a_container_that_sees_the_path_of_its_host_finds_the_root(tmp_path: Path) -> None:
    assert groups(tmp_path, "0::/docker/abc\n", {"memory.max": "3000"}) == 3000


def test_groups_of_version_one_are_read(tmp_path: Path) -> None:
    membership = "5:cpu,cpuacct:/a\n4:memory:/a\n0::/b\n"
    limits = {"memory/a/memory.limit_in_bytes": "4000", "memory.max": "max"}
    assert groups(tmp_path, membership, limits) == 4000


def test_no_groups_no_limit(tmp_path: Path) -> None:
    unlimited = {"memory/memory.limit_in_bytes": "9223372036854771712"}
    assert groups(tmp_path, "4:memory:/\n", unlimited) == 0
    assert memory.control_group_limit(tmp_path / "none", tmp_path) == 0


def test_own_memory_is_counted() -> None:
    gc.collect()  # what earlier tests left must not go while this one counts
    before = memory.anonymous_bytes(os.getpid())
    ballast = bytearray(64 << 20)
    for place in range(0, len(ballast), 4096):
        ballast[place] = 1
    grown = memory.anonymous_bytes(os.getpid()) - before
    assert 48 << 20 < grown < 96 << 20


def test_memory_of_grandchildren_is_counted() -> None:
    code = "eaten = b'1' * (64 << 20); print('ready', flush=True); input()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stdin
        child.stdout.readline()
        assert memory.anonymous_bytes(child.pid) > 64 << 20
        child.stdin.write("\n")


def test_a_process_that_is_gone_takes_nothing() -> None:
    assert memory.anonymous_bytes(2**22 + 1) == 0
