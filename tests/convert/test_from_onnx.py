import zipfile
from pathlib import Path

import numpy as np
import pytest

from modelkit.convert import convert_file
from modelkit.convert.from_onnx import open_model
from modelkit.convert.source import Options
from modelkit.errors import ModelkitError
from modelkit.model import load
from tests.models import linear_text, model_file, parsed, run


def test_a_good_file_has_one_route_that_is_a_copy(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(3, 2))
    source = open_model(path, "onnx", Options())
    assert source.reference is None
    assert [route.name for route in source.routes] == ["as it is"]
    first, second = source.routes[0].export(), source.routes[0].export()
    assert first is not second
    assert first.graph.num_nodes() == 2


def test_broken_files_and_unknown_operators_are_refused(tmp_path: Path) -> None:
    proto = parsed(linear_text(3, 2))
    (tmp_path / "cut.onnx").write_bytes(proto.SerializeToString()[:-20])
    proto.graph.node[0].op_type = "NoSuchOperator"
    (tmp_path / "odd.onnx").write_bytes(proto.SerializeToString())
    for name in ("cut.onnx", "odd.onnx"):
        with pytest.raises(ModelkitError):
            open_model(tmp_path / name, "onnx", Options())


def test_an_archive_as_custom_vision_writes_it(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(3, 2))
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(path, "model.onnx")
        file.writestr("labels.txt", "cat\ndog\n")
        file.writestr("cvexport.manifest", "{}")
    (tmp_path / "out").mkdir()
    report = convert_file(str(tmp_path / "export.zip"), str(tmp_path / "out" / "m.onnx"), opset=21)
    assert report.framework == "ONNX"
    assert report.detected == "model.onnx in the archive"
    assert report.verification.passed and report.verification.trials
    assert report.copied == ("labels.txt",)
    assert report.result.opset[""] == 21
    name = load(path).graph.inputs[0].name or ""
    x = {name: np.ones((2, 3), np.float32)}
    for key, value in run(path, x).items():
        np.testing.assert_allclose(run(tmp_path / "out" / "m.onnx", x)[key], value, rtol=1e-6)
