from pathlib import Path

import pytest

from modelkit.model import InputSpec, load, read_inputs, save, write_inputs
from modelkit.model.inputs import KEY
from tests.models import linear_text, model_file

SPEC = InputSpec("x", "float32", ("n", 8), "float", -1.0, 1.0, ((2, 8), (3, 8)))


def test_specs_survive_the_file(tmp_path: Path) -> None:
    model = load(model_file(tmp_path / "m.onnx", linear_text(8, 3)))
    write_inputs(model, [SPEC])
    assert read_inputs(load(save(model, tmp_path / "out.onnx"))) == (SPEC,)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[1]", '[{"name": "other", "dtype": "f", "shape": [1]}]', "[" * 5000]
)
def test_broken_or_foreign_specs_count_as_none(tmp_path: Path, text: str) -> None:
    model = load(model_file(tmp_path / "m.onnx", linear_text(8, 3)))
    model.metadata_props[KEY] = text
    assert read_inputs(model) == ()
