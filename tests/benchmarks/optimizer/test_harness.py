"""The measuring stick measured: what it counts, compares, times and prints."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.benchmarks.optimizer import judge
from tests.benchmarks.optimizer.environments import PEERS, PeerMissing, pinned, python_of
from tests.benchmarks.optimizer.process import last_error, measured
from tests.benchmarks.optimizer.race import race
from tests.benchmarks.optimizer.results import Row, merged, read
from tests.benchmarks.optimizer.tables import difference, findings, markdown
from tests.benchmarks.rows import write
from tests.models import linear_text, model_file


def test_operators_are_counted_in_subgraphs_and_in_each_call_of_a_function(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20, "own": 1]>
    g (float[n] x, bool c) => (float[n] z) {
        a = own.twice(x)
        b = own.twice(a)
        z = If(c) <then_branch = t () => (float[n] r) { r = Neg(b) },
                   else_branch = e () => (float[n] s) { s = Abs(b) }>
    }
    <opset_import: ["": 20], domain: "own"> twice (v) => (w) { w = Add(v, v) }"""
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    assert judge.operators(path) == {"Add": 2, "If": 1, "Neg": 1, "Abs": 1}


def test_relative_error_is_of_the_largest_value_of_an_output() -> None:
    one, other = np.array([1.0, -4.0], np.float32), np.array([1.0, -3.0], np.float32)
    assert judge.relative_error({"y": one}, {"y": other}) == pytest.approx(0.25)
    assert judge.relative_error({"y": one}, {"y": one}) == 0


@pytest.mark.parametrize(
    ("actual", "said"),
    [
        ({}, "missing"),
        ({"y": np.zeros((3,), np.float32)}, "float32[3]"),
        ({"y": np.zeros((2,), np.float64)}, "float64[2]"),
        ({"y": np.array([1.0, np.nan], np.float32)}, "not finite"),
    ],
)
def test_another_kind_of_output_is_no_small_error(actual: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        judge.relative_error({"y": np.ones(2, np.float32)}, actual)
    assert said in str(caught.value)


def test_a_process_costs_what_it_and_its_children_use(tmp_path: Path) -> None:
    child = "import time; kept = bytearray(120_000_000); time.sleep(0.3); print(sum(range(10**6)))"
    parent = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    cost = measured([sys.executable, "-c", parent], seconds=60, folder=tmp_path, environment={})
    assert cost.failure == ""
    assert cost.output.strip() == "499999500000"
    assert 120 < cost.peak_mb < 300
    assert cost.cpu_seconds > 0.01


def test_a_process_that_fails_or_takes_too_long_says_so(tmp_path: Path) -> None:
    def failure(code: str, seconds: float = 60) -> str:
        command = [sys.executable, "-c", code]
        return measured(command, seconds=seconds, folder=tmp_path, environment={}).failure

    assert failure("raise ValueError('no such thing')") == "ValueError: no such thing"
    assert failure("import os; os.kill(os.getpid(), 9)") == "killed by signal 9"
    assert failure("import time; time.sleep(30)", 0.5) == "no answer in 0 s"
    assert last_error("RuntimeError: bad\nwarning: later\n") == "RuntimeError: bad"


def test_every_peer_is_pinned() -> None:
    assert set(pinned(PEERS.read_text())) >= {"onnxslim", "onnxsim", "onnxoptimizer", "tensorflow"}
    with pytest.raises(ValueError, match="==version"):
        pinned("slim: onnxslim>=0.1")


def test_an_environment_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "peers.txt"
    table.write_text("ghost: /nowhere/ghost==1.0\n")
    monkeypatch.setattr("tests.benchmarks.optimizer.environments.PEERS", table)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(PeerMissing, match="environment ghost: ERROR"):
        python_of("ghost", tmp_path / "environments")


def _row(contender: str, operators: dict[str, int], **more: object) -> Row:
    return Row("m.torchscript", contender, operators=operators, **more)  # type: ignore[arg-type]


def test_rows_survive_the_file_and_new_ones_replace_old(tmp_path: Path) -> None:
    old = [_row("onnxslim", {"Add": 1}, error=1e-7, latency=(1.0, 0.9, 1.1)), _row("onnxsim", {})]
    path = tmp_path / "deep" / "rows.json"
    write(path, old, {"machine": "this"})
    assert read(path) == old
    assert json.loads(path.read_text())["machine"] == {"machine": "this"}
    fresh = _row("onnxsim", {"Mul": 2})
    assert merged(old, [fresh]) == [old[0], fresh]
    assert read(tmp_path / "none.json") == []


def test_what_stands_out_is_named() -> None:
    rows = [
        _row("modelkit-basic", {"Add": 3, "Cast": 2}, error=2e-5),
        _row("modelkit-all", {}, failure="BadInput: broken"),
        _row("onnxslim", {"Add": 3, "Gemm": 1}, error=0.0),
        _row("onnxsim", {"Add": 1}, failure="crashed"),
    ]
    assert findings(rows) == [
        "m.torchscript: modelkit-basic errs by 2.0e-05",
        "m.torchscript: modelkit-all fails: BadInput: broken",
        "m.torchscript: basic leaves 5 nodes, onnxslim 4"
        " (we keep 2 Cast more; it keeps 1 Gemm more)",
    ]
    assert difference(rows[2], rows[2]) == "we keep none more; it keeps none more"


def test_the_tables_leave_no_failure_out() -> None:
    rows = [
        Row("a.dynamo", "export", failure="torch refuses"),
        _row("original", {"Add": 4}, error=0.0),
        _row("modelkit-all", {"Add": 2}, error=1e-7, latency=(1.2, 1.1, 1.3)),
        _row("onnxslim", {}, failure="crashed"),
    ]
    text = markdown(rows, {"machine": "this"})
    assert "| a.dynamo | no export" in text
    assert "| m.torchscript | 4 | 2 | failed |" in text
    assert "1.200 (1.100 to 1.300)" in text
    assert "- a.dynamo, export: torch refuses" in text
    assert "- m.torchscript, onnxslim: crashed" in text


def test_a_race_of_equals_ends_near_one(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(256, 256))
    feeds = {"x": np.ones((64, 256), np.float32)}
    milliseconds, [(center, low, high)] = race(path, [path], feeds, seconds=0.3)
    assert milliseconds > 0
    assert low <= center <= high
    assert 0.5 < center < 2, os.getloadavg()


def test_judging_finds_a_wrong_optimization(tmp_path: Path) -> None:
    right = model_file(tmp_path / "right.onnx", linear_text(4, 4))
    wrong = model_file(tmp_path / "wrong.onnx", linear_text(4, 4), seed=1)
    np.savez(tmp_path / "feeds.0.npz", x=np.ones((3, 4), np.float32))
    feeds = [tmp_path / "feeds.0.npz"]
    assert judge.error_of(right, right, feeds) < 1e-6
    assert judge.error_of(right, wrong, feeds) > 0.1
