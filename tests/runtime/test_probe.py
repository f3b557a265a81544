import json
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest

from modelkit.errors import ProviderMissing
from modelkit.runtime import probe


def test_the_limits_are_where_models_stop_opening(tmp_path: Path) -> None:
    build = probe.build()
    assert build.providers == tuple(ort.get_available_providers())

    def opens(opset: int, ir_version: int) -> bool:
        return probe._opens(probe._matmul(tmp_path, opset, ir_version))

    assert opens(build.opset, 8)
    assert not opens(build.opset + 1, 8)
    assert opens(17, build.ir_version)
    assert not opens(17, build.ir_version + 1)


def test_the_cpu_runs_a_node() -> None:
    facts = probe.open_on("cpu")
    assert (facts.opened, facts.detail) == (True, "ran a model of one node")


def test_a_provider_that_leaves_the_node_to_another_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "_who_ran", lambda trace: {"XnnpackExecutionProvider"})
    assert "run by XnnpackExecutionProvider" in probe.open_on("cpu").detail


def test_a_trace_tells_who_ran(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text(json.dumps([{"args": {"provider": "A"}}, {"args": {}}, {"cat": "Session"}]))
    assert probe._who_ran(trace) == {"A"}


def test_a_provider_that_is_not_there_says_so() -> None:
    with pytest.raises(ProviderMissing, match="'qnn' is not in the installed"):
        probe.open_on("qnn")


def test_the_model_is_valid(tmp_path: Path) -> None:
    onnx.checker.check_model(onnx.load(probe._matmul(tmp_path, 17, 8)), full_check=True)
