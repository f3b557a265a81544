from pathlib import Path

import pytest

from modelkit.convert.from_onnx import open_model
from modelkit.convert.source import Options
from modelkit.errors import ModelkitError
from tests.models import linear_text, model_file, parsed


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
