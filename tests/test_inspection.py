from pathlib import Path

import numpy as np
import onnx

from modelkit.inspection import inspect_file
from tests.models import linear_text, model_file, parsed


def test_what_a_file_holds(tmp_path: Path) -> None:
    report = inspect_file(str(model_file(tmp_path / "m.onnx", linear_text(8, 300))))
    assert report.inputs[0].shape == ("n", 8)
    assert report.operators == {"Add": 1, "MatMul": 1}
    assert report.bytes_by_dtype == {"float32": 10_800}
    assert report.largest[0] == ("w", "float32[8,300]", 9600)
    assert report.lint == ()


def test_lint_finds_what_should_not_be_there(tmp_path: Path) -> None:
    model = parsed(linear_text(8, 300))
    model.opset_import[0].version = 99
    model.ir_version = 99
    bad = np.array([1, np.nan], np.float32)
    for name in ("unused", "copy"):
        model.graph.initializer.append(onnx.numpy_helper.from_array(bad, name))
    model.graph.node.append(onnx.helper.make_node("Neg", ["x"], ["idle"]))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    text = "\n".join(inspect_file(str(path)).lint)
    for words in ("opset 99", "IR version 99", "2 initializers nobody reads", "1 nodes whose",
                  "NaN or infinity", "1 small initializers are copies"):  # fmt: skip
        assert words in text
