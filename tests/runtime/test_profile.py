from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import ProviderMissing
from modelkit.runtime import profile as module
from modelkit.runtime.profile import arithmetic, check_offload, node_times, trace
from modelkit.runtime.providers import parse
from modelkit.runtime.session import Setup
from tests.models import linear_text, model_file

FEEDS = {"x": np.ones((4, 64), np.float32)}
LOOP = """<ir_version: 8, opset_import: ["": 17]> g (float[4, 64] x, int64 n) => (float[4, 64] y) {
t = Constant<value = bool {1}>() y = Loop(n, t, x) <body = b (int64 i, bool c, float[4, 64] v)
=> (bool d, float[4, 64] w) { d = Identity(c) w = Erf(v) }> }"""


def event(name: str, ts: int, dur: int, op: str = "", provider: str = "CPUExecutionProvider"):  # type: ignore[no-untyped-def]
    if not op:
        return {"cat": "Session", "name": name, "ts": ts, "dur": dur, "args": {}}
    facts = {"op_name": op, "provider": provider, "input_type_shape": [{"float": [2, 3]}]}
    facts["output_type_shape"] = [{"float": [2, 3]}]
    name = f"{name}_kernel_time"
    return {"cat": "Node", "name": name, "ts": ts, "dur": dur, "tid": 1, "args": facts}


def test_a_synthetic_trace_gives_its_own_times() -> None:
    events = [
        event("model_run", 0, 100), event("loop", 10, 50, "Loop"), event("inner", 20, 15, "Erf"),
        event("inner", 40, 15, "Erf"), event("tail", 70, 5, "Add", "CUDAExecutionProvider"),
        event("model_run", 200, 100), event("loop", 210, 30, "Loop"), "rubbish", {"name": "x"},
    ]  # fmt: skip
    runs = list(module._by_run(events))
    assert [len(run) for run in runs] == [4, 1]
    assert [kernel.micros for kernel in runs[0]] == [20, 15, 15, 5]
    times = {each.node: each for each in node_times(runs[:1])}
    assert times["inner"].micros == 30
    assert times["tail"].provider == "cuda"
    assert next(iter(node_times(runs[:1]))).node == "inner"


def test_a_real_trace(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(64, 32))
    runs = trace(Setup(), path, FEEDS, runs=3)
    assert len(runs) == 3
    (node,) = node_times(runs)
    assert node.provider == "cpu"
    assert node.micros > 0
    assert list(tmp_path.iterdir()) == [path]


def test_a_body_counts_every_turn(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", LOOP)
    runs = trace(Setup(graph_level="none"), path, {**FEEDS, "n": np.array(7)}, runs=2)
    assert sum(kernel.op == "Erf" for kernel in runs[0]) == 7
    loop = next(node for node in node_times(runs) if node.op == "Loop")
    # Two runs on a busy machine may differ fivefold: their median is held against both.
    assert loop.micros <= max(sum(kernel.micros for kernel in run) for run in runs)


def test_arithmetic_sees_packed_weights(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(64, 32))
    assert arithmetic(path, FEEDS, Setup()) == {"MatMul": 2 * 4 * 64 * 32, "Add": 4 * 32}
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1, 8, 9, 9] x) =>
    (float[1, 16, 7, 7] y) <float[16, 8, 3, 3] w> { y = Conv(x, w) }"""
    conv = model_file(tmp_path / "c.onnx", text)
    feeds = {"x": np.ones((1, 8, 9, 9), np.float32)}
    assert arithmetic(conv, feeds, Setup()) == {"Conv": 2 * 16 * 49 * 72}


def test_a_provider_that_leaves_the_work_to_the_cpu_is_missing(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(64, 32))
    setup = Setup(providers=parse("azure")[0])
    with pytest.raises(ProviderMissing, match="azure carries 0%") as caught:
        check_offload(setup, path, FEEDS)
    assert caught.value.exit_code == 5
    assert "1 nodes by cpu" in caught.value.cause
    found = check_offload(Setup(providers=parse("azure")[0], min_offload=0), path, FEEDS)
    assert (found.nodes, found.offloaded, found.copies) == ({"cpu": 1}, 0, 0)
