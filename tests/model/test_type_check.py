from pathlib import Path

import onnx
import pytest

from modelkit.model.type_check import type_error
from tests.models import linear_text, model_file

MIXED = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 300] x, float16[n, 300] h) => (float[n, 300] y) <float[300, 300] w>
{ m = MatMul(x, w) y = BODY }"""


def test_a_legal_model_has_no_finding(tmp_path: Path) -> None:
    assert type_error(model_file(tmp_path / "m.onnx", linear_text(600, 600))) == ""


@pytest.mark.parametrize("body", ["Add(m, h)", "Cast<to = 16>(m)"])
def test_types_that_do_not_fit_are_found(body: str, tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", MIXED.replace("BODY", body))
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True)
    assert type_error(path)


def test_rubbish_is_a_finding_too(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x01rubbish")
    assert type_error(tmp_path / "m.onnx")
