from pathlib import Path

import onnxruntime as ort
import pytest

from modelkit import targets
from modelkit.errors import CannotWrite, UsageError
from modelkit.model import load
from modelkit.optimize import optimize
from modelkit.runtime.machine import instruction_set
from modelkit.tune import measure_kernels
from tests.models import model_file

SILU = """<ir_version: 10, opset_import: ["": 20]> g (float[n, 8] x) => (float[n, 8] y)
{ s = Sigmoid(x) y = Mul(x, s) }"""


def test_what_is_measured_decides_what_optimize_does(tmp_path: Path) -> None:
    table = tmp_path / "here.toml"
    report = measure_kernels(str(table), only=["silu"], seconds=0.1)
    assert [row.fusion for row in report.rows] == ["silu"] * 4
    assert all(row.opening > 0 for row in report.rows)
    assert all(0.5 < row.memory < 2 for row in report.rows)
    assert all(row.ratio.low <= row.ratio.median <= row.ratio.high for row in report.rows)
    found = targets.load(str(table))
    assert set(found.ratios) == {"silu"}
    assert found.command.startswith("modelkit tune --kernels")
    assert found.elsewhere(instruction_set(), ort.__version__) == ""
    model = load(model_file(tmp_path / "m.onnx", SILU))
    changes = {change.name for change in optimize(model, target=str(table)).changes}
    assert ("silu" in changes) == (found.allows("silu") is None)


def test_nothing_is_overwritten_and_names_are_checked(tmp_path: Path) -> None:
    table = tmp_path / "here.toml"
    table.write_text("mine")
    with pytest.raises(CannotWrite):
        measure_kernels(str(table), only=["silu"], seconds=0.1)
    with pytest.raises(UsageError, match="'nothing' is not measured"):
        measure_kernels(only=["nothing"])
    assert table.read_text() == "mine"
