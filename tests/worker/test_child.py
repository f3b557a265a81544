import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def conversation(tmp_path: Path, function: str, **arguments: Any) -> tuple[list[Any], str]:
    request = {
        "function": f"tests.worker.verbs_for_tests:{function}",
        "arguments": arguments,
        "memory_limit": 2 << 30,
        "scratch": str(tmp_path),
        "parent": os.getpid(),
    }
    child = subprocess.Popen(
        [sys.executable, "-P", "-u", "-m", "modelkit.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin and child.stdout and child.stderr
    with child, child.stderr:
        child.stdin.write(json.dumps(sys.path) + "\n" + json.dumps(request) + "\n")
        child.stdin.flush()
        lines = [json.loads(line) for line in child.stdout]
        return lines, child.stderr.read()


def test_the_child_answers_one_request_in_json_lines(tmp_path: Path) -> None:
    lines, printed = conversation(tmp_path, "change", name="n")
    assert [kind for kind, _ in lines] == ["step", "note", "report"]
    assert lines[-1][1]["name"] == "n"
    assert printed == "noise on stdout\nnative noise\n"


def test_an_error_is_answered_with_its_fields(tmp_path: Path) -> None:
    lines, printed = conversation(tmp_path, "refuse")
    assert lines[-1][0] == "error"
    assert lines[-1][1]["exit_code"] == 3
    assert printed == ""


def test_code_that_reads_stdin_finds_it_empty(tmp_path: Path) -> None:
    lines, _ = conversation(tmp_path, "ask_stdin")
    assert lines[-1][1]["name"] == ""


def test_a_report_that_is_no_json_is_a_bug(tmp_path: Path) -> None:
    lines, printed = conversation(tmp_path, "no_json")
    assert lines[-1][0] == "bug"
    assert "Traceback" in printed
