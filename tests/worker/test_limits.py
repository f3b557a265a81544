import os
import subprocess
import sys

import pytest

from modelkit.worker import limits
from modelkit.worker.memory import machine_memory


def test_the_default_is_four_gigabytes_or_three_models_within_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "machine_memory", lambda: 100 << 30)
    assert limits.default_limit(0) == 4 << 30
    assert limits.default_limit(2 << 30) == 6 << 30
    assert limits.default_limit(50 << 30) == int(0.8 * (100 << 30))


def test_a_machine_that_does_not_tell_caps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "machine_memory", lambda: 0)
    assert limits.default_limit(50 << 30) == 150 << 30


def test_the_default_fits_this_machine() -> None:
    assert 0 < limits.default_limit(1 << 50) < machine_memory()


def test_no_core_file_is_left_and_data_is_limited() -> None:
    code = (
        "import resource\n"
        "from modelkit.worker.limits import apply\n"
        "apply(1 << 30)\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_DATA))"
        "\nprint(resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"(0, 0) ({1 << 30}, {1 << 30})", "True"]


def test_a_process_ends_when_its_lifeline_is_cut() -> None:
    code = (
        "import time\n"
        "from modelkit.worker.limits import end_with\n"
        "end_with(0)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stdin
        assert child.stdout.readline() == "ready\n"
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(10) == 1


def test_a_child_whose_parent_is_gone_already_ends() -> None:
    code = f"from modelkit.worker.limits import die_with_parent; die_with_parent({os.getpid()}, 0)"
    outer = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {code!r}]).returncode)"
    assert subprocess.run([sys.executable, "-c", outer], stdin=subprocess.DEVNULL).returncode == 1
