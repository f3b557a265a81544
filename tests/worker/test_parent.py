import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx.parser
import pytest

from modelkit import worker
from modelkit.errors import BadInput, ModelkitError, OutOfMemory, TimedOut, WorkerCrashed
from modelkit.reports import Change, from_json

LOOP = """<ir_version: 8, opset_import: ["": 17]>
g (int64 n, bool c, float[1] x) => (float[1] y) {
    y = Loop(n, c, x) <body = b (int64 i, bool k, float[1] s) => (bool ko, float[1] so)
    { ko = Identity(k) so = Identity(s) }>
}"""


def run(name: str, **options: Any) -> dict[str, Any]:
    arguments = options.pop("arguments", {})
    return worker.run("test", arguments, function=f"tests.worker.verbs_for_tests:{name}", **options)


def test_a_report_and_the_progress_come_back_whatever_is_printed() -> None:
    heard: list[tuple[str, str]] = []
    fields = run("change", arguments={"name": "x"}, listener=lambda *m: heard.append(m))
    assert from_json(fields) == Change("x", 3, ("a",))
    assert heard == [("step", "counting"), ("note", "noted")]


def test_an_error_comes_back_as_its_kind() -> None:
    with pytest.raises(BadInput) as caught:
        run("refuse")
    assert (caught.value.message, caught.value.cause, caught.value.hint) == (
        "broken m.onnx",
        "why",
        "next",
    )


def test_a_segfault_names_signal_and_step() -> None:
    with pytest.raises(WorkerCrashed) as caught:
        run("segfault")
    assert caught.value.exit_code == 6
    assert "SIGSEGV during shape inference" in caught.value.message


def test_an_abort_tells_what_native_code_said() -> None:
    with pytest.raises(WorkerCrashed, match="SIGABRT") as caught:
        run("abort")
    assert "what native code said" in caught.value.cause


def test_time_runs_out(tmp_path: Path) -> None:
    half = tmp_path / "half"
    start = time.monotonic()
    with pytest.raises(TimedOut, match="it was at: sleeping") as caught:
        run("sleep", arguments={"seconds": 60, "path": str(half)}, timeout=1.0)
    assert caught.value.exit_code == 7
    assert time.monotonic() - start < 10
    assert not half.exists()


def test_memory_runs_out() -> None:
    with pytest.raises(OutOfMemory, match="during eating") as caught:
        run("eat", arguments={"gigabytes": 3.0}, memory_limit=1 << 30)
    assert caught.value.exit_code == 8


def test_mapped_and_reserved_memory_does_not_count() -> None:
    assert run("eat", arguments={"gigabytes": 0.1}, memory_limit=1 << 30)["count"] == 1


def test_our_own_bug_keeps_its_trace_in_a_file_and_off_the_terminal() -> None:
    with pytest.raises(ModelkitError, match="internal error in test during dividing") as caught:
        run("bug")
    log = Path(next(w for w in caught.value.hint.replace(";", " ").split() if w.endswith(".log")))
    assert "ZeroDivisionError" in log.read_text()
    assert "Traceback" not in caught.value.cause
    log.unlink()


def started(code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )


RUNNER = """
import sys
from modelkit import worker
worker.run("test", {"%s": sys.argv[1]%s}, function="tests.worker.verbs_for_tests:%s",
           listener=lambda kind, text: print(text, flush=True))
"""


def interrupted(child: "subprocess.Popen[str]", number: int) -> float:
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.3)
    start = time.monotonic()
    child.send_signal(number)
    child.wait(20)
    return time.monotonic() - start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_even_inside_native_code(tmp_path: Path, number: int) -> None:
    path = tmp_path / "loop.onnx"
    path.write_bytes(onnx.parser.parse_model(LOOP).SerializeToString())
    child = started(RUNNER % ("path", "", "endless_loop"), str(path))
    assert interrupted(child, number) < 3
    assert child.returncode in ((-2, 130) if number == signal.SIGINT else (143,))


def test_a_signal_removes_half_written_files(tmp_path: Path) -> None:
    half = tmp_path / "half"
    child = started(RUNNER % ("path", ', "seconds": 60', "sleep"), str(half))
    interrupted(child, signal.SIGINT)
    assert not half.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_no_orphan_outlives_a_killed_parent(tmp_path: Path) -> None:
    child = started(RUNNER % ("path", ', "seconds": 60', "sleep"), str(tmp_path / "half"))
    assert child.stdout is not None
    child.stdout.readline()
    tasks = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    assert len(tasks) == 1
    child.kill()
    child.wait()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{tasks[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{tasks[0]}").exists()


def test_grandchildren_die_with_the_worker(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(TimedOut):
        run("grandchild", arguments={"path": str(note)}, timeout=2.0)
    pid = int(note.read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the grandchild is alive")
