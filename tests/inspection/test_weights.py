from pathlib import Path

import onnx
import onnx_ir as ir

from modelkit.inspection.weights import dims_text, dtype_name, size, tensors
from modelkit.model import load
from tests.inspection.test_inspection import BRANCHES


def test_weights_of_every_place(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(BRANCHES).SerializeToString())
    found = dict(tensors(load(path)))
    assert set(found) == {"w", "v", "two"}
    assert (size(found["w"]), dims_text(found["w"])) == (16, "[4]")


def test_names_of_types() -> None:
    assert dtype_name(ir.DataType.FLOAT) == "float32"
    assert dtype_name(ir.DataType.BFLOAT16) == "bfloat16"
    assert dtype_name(None) == "?"
