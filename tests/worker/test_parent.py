import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import onnx.parser
import pytest

from modelkit import worker
from modelkit.errors import (
    BadInput,
    ModelkitError,
    OutOfMemory,
    ProviderMissing,
    TimedOut,
    UsageError,
    WorkerCrashed,
)
from modelkit.reports import Change, from_json

LOOP = """<ir_version: 8, opset_import: ["": 17]>
g (int64 n, bool c, float[1] x) => (float[1] y) {
    y = Loop(n, c, x) <body = b (int64 i, bool k, float[1] s) => (bool ko, float[1] so)
    { ko = Identity(k) so = Identity(s) }>
}"""


def run(name: str, **options: Any) -> dict[str, Any]:
    arguments = options.pop("arguments", {})
    return worker.run("test", arguments, function=f"tests.worker.verbs_for_tests:{name}", **options)


def log_named_in(text: str) -> Path:
    return Path(next(word for word in text.split() if word.endswith(".log")))


def test_a_report_and_the_progress_come_back_whatever_is_printed() -> None:
    heard: list[tuple[str, str]] = []
    fields = run("change", arguments={"name": "x"}, listener=lambda *m: heard.append(m))
    assert from_json(fields) == Change("x", 3, ("a",))
    assert heard == [("step", "counting"), ("note", "noted")]


def test_it_works_from_another_thread() -> None:
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(run("change", arguments={"name": "x"})))
    thread.start()
    thread.join()
    assert found[0]["count"] == 3


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(UsageError, match="no verb 'optimise'") as caught:
        worker.run("optimise", {})
    assert "optimize" in caught.value.hint


def test_the_child_imports_what_the_parent_can_and_not_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    (tmp_path / "numpy.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    assert run("search_path")["notes"] == sys.path
    assert run("eat", arguments={"gigabytes": 0.01})["count"] == 1


def test_an_error_comes_back_as_its_kind() -> None:
    with pytest.raises(BadInput) as caught:
        run("refuse")
    assert (caught.value.message, caught.value.cause, caught.value.hint) == (
        "broken m.onnx",
        "why",
        "next",
    )


def test_an_error_carries_what_libraries_printed() -> None:
    with pytest.raises(ProviderMissing) as caught:
        run("fall_back", arguments={"provider": "cuda"})
    assert caught.value.__notes__ == ["libcuda.so.1: cannot open shared object file"]


def test_a_segfault_names_signal_step_and_file() -> None:
    with pytest.raises(WorkerCrashed) as caught:
        run("segfault", arguments={"source": "a\x1b.onnx"})
    error = caught.value
    assert error.exit_code == 6
    assert error.message == (
        "the worker was killed by SIGSEGV during shape inference (test of a\\x1b.onnx)"
    )
    assert error.cause == "native code crashed; the input may be malformed"
    log = log_named_in(error.hint)
    assert "verbs_for_tests.py" in log.read_text()
    log.unlink()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what it holds")
def test_a_crash_near_the_limit_says_that_more_memory_may_help() -> None:
    with pytest.raises(WorkerCrashed, match="SIGSEGV during eating") as caught:
        run("segfault_for_want_of_memory", arguments={"held": 900 << 20}, memory_limit=1 << 30)
    assert "of the 1.0 GiB it may have" in caught.value.hint
    assert "--memory-limit 3GB" in caught.value.hint
    log_named_in(caught.value.hint).unlink()


def test_an_abort_tells_what_native_code_said() -> None:
    with pytest.raises(WorkerCrashed, match="SIGABRT") as caught:
        run("abort")
    assert caught.value.cause == "what native code said"
    log_named_in(caught.value.hint).unlink()


def test_a_library_that_ends_the_process_is_a_crash() -> None:
    with pytest.raises(WorkerCrashed, match="ended with exit code 3 during start-up") as caught:
        run("leave", arguments={"code": 3})
    log_named_in(caught.value.hint).unlink()


def test_time_runs_out(tmp_path: Path) -> None:
    half = tmp_path / "half"
    start = time.monotonic()
    with pytest.raises(TimedOut, match="did not finish in 1 s; it was at: sleeping") as caught:
        run("sleep", arguments={"seconds": 60, "path": str(half)}, timeout=1.0)
    assert caught.value.exit_code == 7
    assert time.monotonic() - start < 5
    assert not half.exists()


def test_what_libraries_leave_in_the_temporary_folder_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(TimedOut):
        run("sleep", arguments={"seconds": 60}, timeout=1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_file_finished_just_before_the_end_stays(tmp_path: Path) -> None:
    whole = tmp_path / "whole"

    def interrupt(kind: str, text: str) -> None:
        time.sleep(0.5)  # meanwhile the child says that the file is settled
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("finish", arguments={"path": str(whole)}, listener=interrupt)
    assert whole.read_text() == "whole"


def test_memory_runs_out() -> None:
    with pytest.raises(OutOfMemory, match=r"limit of 1.0 GiB during eating") as caught:
        run("eat", arguments={"gigabytes": 3.0}, memory_limit=1 << 30)
    assert caught.value.exit_code == 8
    assert "--memory-limit" in caught.value.hint


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the sum")
def test_memory_runs_out_for_parent_and_children_together() -> None:
    with pytest.raises(OutOfMemory, match="during eating together"):
        run("eat_together", arguments={"gigabytes": 0.3}, memory_limit=512 << 20)


def test_address_space_that_is_only_reserved_costs_nothing() -> None:
    assert run("reserve", arguments={"gigabytes": 20}, memory_limit=1 << 30)["count"] == 20 << 30


def test_our_own_bug_keeps_its_trace_in_a_file_and_off_the_terminal() -> None:
    with pytest.raises(ModelkitError, match="internal error in test during dividing") as caught:
        run("bug")
    error = caught.value
    assert (error.code, error.cause.partition(":")[0]) == ("internal-error", "ZeroDivisionError")
    log = log_named_in(error.hint)
    assert "Traceback" in log.read_text()
    log.unlink()


# As from a terminal, also where whoever started the tests ignores signals, as nohup does.
RUNNER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
for name in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(name, signal.SIG_DFL)
from modelkit import worker
worker.run("test", {"path": sys.argv[1]%s}, function="tests.worker.verbs_for_tests:%s",
           listener=lambda kind, text: print(text, flush=True))
"""


def started(more: str, function: str, path: Path) -> "subprocess.Popen[str]":
    """A program that runs a verb, at the moment the verb tells its step."""
    program = subprocess.Popen(
        [sys.executable, "-c", RUNNER % (more, function), str(path)],
        env={**os.environ, "TMPDIR": str(path.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert program.stdout is not None
    program.stdout.readline()
    time.sleep(0.2)
    return program


def ended(program: "subprocess.Popen[str]", number: int) -> tuple[int, float]:
    """Exit status after signal ``number``, and the seconds it took."""
    start = time.monotonic()
    with program:
        program.send_signal(number)
        try:
            program.wait(20)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
    return program.returncode, time.monotonic() - start


@pytest.mark.parametrize(("number", "status"), [("SIGINT", -2), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_it_at_once_even_inside_native_code(
    tmp_path: Path, number: str, status: int
) -> None:
    path = tmp_path / "loop.onnx"
    path.write_bytes(onnx.parser.parse_model(LOOP).SerializeToString())
    code, seconds = ended(started("", "endless_loop", path), signal.Signals[number])
    assert code == status
    assert seconds < 2


def test_a_signal_removes_half_written_files(tmp_path: Path) -> None:
    half = tmp_path / "half"
    program = started(', "seconds": 60', "sleep", half)
    assert half.exists()
    ended(program, signal.SIGINT)
    assert not half.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells who is alive")
def test_no_orphan_outlives_a_killed_parent(tmp_path: Path) -> None:
    program = started(', "seconds": 60', "sleep", tmp_path / "half")
    tasks = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    assert len(tasks) == 1
    ended(program, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{tasks[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{tasks[0]}").exists()


def test_grandchildren_die_with_the_worker(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(TimedOut):
        run("grandchild", arguments={"path": str(note)}, timeout=2.0)
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", note.read_text()], capture_output=True, text=True
    )
    assert state.stdout.strip()[:1] in ("", "Z")


def test_a_small_limit_is_told_in_units_that_show_it(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match=r"limit of \d+ MiB"):
        run("eat", arguments={"gigabytes": 3.0}, memory_limit=200 << 20)
