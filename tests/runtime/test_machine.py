from pathlib import Path

import numpy as np
import pytest

from modelkit.runtime.bench import Samples
from modelkit.runtime.machine import (
    instruction_set,
    machine_name,
    slowed,
    throttle_count,
    usable_cores,
)


def sessions(*milliseconds: float) -> Samples:
    runs = [[value / 1000] * 10 for value in milliseconds]
    return Samples(wall=runs, cpu=runs)


def test_the_machine_has_a_name_and_cores() -> None:
    assert "cores" in machine_name()


@pytest.mark.parametrize(
    ("machine", "found", "expected"),
    [
        ("x86_64", ["X86_V3", "X86_V4"], "x86-64 avx512"),
        ("x86_64", ["SSE42", "AVX2", "AVX512F"], "x86-64 avx512"),
        ("AMD64", ["AVX2"], "x86-64 avx2"),
        ("x86_64", [], "x86-64"),
        ("aarch64", ["ASIMD"], "arm64"),
        ("arm64", [], "arm64"),
        ("riscv64", [], "riscv64"),
    ],
)
def test_the_instructions_that_choose_kernels(
    machine: str, found: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"found": found}})
    assert instruction_set() == expected


def test_siblings_are_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3, 4}, raising=False)
    for cpu, siblings in enumerate(("0,4", "1,5", "2-3", "2-3", "0,4", "1,5")):
        place = tmp_path / f"devices/system/cpu/cpu{cpu}/topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(f"{siblings}\n")
    assert usable_cores(tmp_path) == 3
    quota = tmp_path / "fs/cgroup/cpu.max"
    quota.parent.mkdir(parents=True)
    for text, expected in (
        ("max 100000\n", 3),
        ("150000 100000\n", 2),
        ("50000 100000", 1),
        ("", 3),
    ):
        quota.write_text(text)
        assert usable_cores(tmp_path) == expected
    assert usable_cores(tmp_path / "nothing") == 5


def test_throttle_counts_of_all_cores_add_up(tmp_path: Path) -> None:
    for core, count in (("cpu0", "3\n"), ("cpu1", "4\n")):
        folder = tmp_path / "devices/system/cpu" / core / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(count)
    assert throttle_count(tmp_path) == 7
    assert throttle_count(tmp_path / "nothing") == 0


def test_everything_getting_slower_is_the_machine() -> None:
    slow = sessions(1, 1, 1.1, 1.2, 1.3, 1.3)
    steady = sessions(1, 1, 1, 1, 1, 1)
    assert "slower from the first" in next(slowed([slow, slow], 0))
    assert not list(slowed([slow, steady], 0))
    assert not list(slowed([sessions(1, 1)], 0))


def test_heat_is_told() -> None:
    assert "too hot 2 times" in next(slowed([], 2))
