import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from modelkit.errors import ModelkitError
from modelkit.worker.process import Child


def request(tmp_path: Path, function: str, arguments: dict[str, object]) -> tuple[str, str]:
    fields = {
        "function": f"tests.worker.verbs_for_tests:{function}",
        "arguments": arguments,
        "memory_limit": 2 << 30,
        "scratch": str(tmp_path),
        "parent": os.getpid(),
    }
    return json.dumps(sys.path), json.dumps(fields)


def test_it_answers_and_leaves(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as log, Child(log.fileno()) as child:
        child.tell(*request(tmp_path, "change", {"name": "n"}))
        assert [json.loads(line)[0] for line in child.answers()] == ["step", "note", "report"]
        assert child.code() == 0
        assert child.ended()


def test_killing_takes_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with tempfile.TemporaryFile() as log, Child(log.fileno()) as child:
        child.tell(*request(tmp_path, "grandchild", {"path": str(note)}))
        assert "waiting" in next(child.answers())
        assert os.getpgid(int(note.read_text())) == child.pid != os.getpgrp()
        child.kill()
        assert child.code() == -9
    assert gone(int(note.read_text()))


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
        if told.stdout.strip()[:1] in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


def test_telling_the_dead_is_no_error(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as log, Child(log.fileno()) as child:
        child.kill()
        child.tell("x" * 100_000)
        assert list(child.answers()) == []


def test_a_system_that_starts_no_process_is_an_error_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with (
        tempfile.TemporaryFile() as log,
        pytest.raises(ModelkitError, match="not be started"),
    ):
        Child(log.fileno())
