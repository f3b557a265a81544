import json
import os
import subprocess
import sys


def test_the_child_answers_one_request_in_json_lines() -> None:
    request = {
        "function": "tests.worker.verbs_for_tests:change",
        "arguments": {"name": "n"},
        "memory_limit": 2 << 30,
        "parent": os.getpid(),
    }
    done = subprocess.run(
        [sys.executable, "-m", "modelkit.worker"],
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    kinds = [json.loads(line)[0] for line in done.stdout.splitlines()]
    assert kinds == ["step", "note", "report"]
    assert "native noise" in done.stderr
