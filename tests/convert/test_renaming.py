from pathlib import Path

import numpy as np
import pytest

from modelkit.convert import convert_file
from modelkit.convert.renaming import parse_names
from modelkit.errors import UsageError
from tests.models import linear_text, model_file, run


def test_texts_are_pairs() -> None:
    assert parse_names(["a=b", "c=d"]) == {"a": "b", "c": "d"}
    for wrong in (["a"], ["a="], ["=b"], ["a=b", "a=c"], ["a=b", "c=b"]):
        with pytest.raises(UsageError, match="is not OLD=NEW"):
            parse_names(wrong)


def test_inputs_and_outputs_of_an_onnx_file(tmp_path: Path) -> None:
    path = model_file(tmp_path / "a.onnx", linear_text(4, 3))
    report = convert_file(
        str(path), str(tmp_path / "b.onnx"), rename=["x=image"], output_names=["scores"]
    )
    assert report.verification.passed
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    found = run(tmp_path / "b.onnx", {"image": x})
    np.testing.assert_array_equal(found["scores"], run(path, {"x": x})["y"])


def test_names_of_values_inside_make_room(tmp_path: Path) -> None:
    path = model_file(tmp_path / "a.onnx", linear_text(4, 3))
    report = convert_file(str(path), str(tmp_path / "b.onnx"), rename=["x=m", "y=w"])
    assert report.verification.passed
    assert (report.inputs[0].split()[0], report.outputs[0].split()[0]) == ("m", "w")


def test_a_framework_keeps_its_parity_under_other_names(tmp_path: Path) -> None:
    report = convert_file(
        "tests.convert.samples:picture",
        str(tmp_path / "m.onnx"),
        input_shape=["image:2,3,32,32"],
        rename=["image=pixels", "scores=logits"],
    )
    assert report.inputs[0].startswith("pixels ")
    assert [text.split()[0] for text in report.outputs] == ["logits", "features"]
    assert [error.output for error in report.verification.trials[0].errors] == [
        "logits",
        "features",
    ]


def test_mistakes_are_told(tmp_path: Path) -> None:
    path = model_file(tmp_path / "a.onnx", linear_text(4, 3))
    target = str(tmp_path / "b.onnx")
    with pytest.raises(UsageError, match="no input and no output") as caught:
        convert_file(str(path), target, rename=["q=r"])
    assert "x, y" in caught.value.hint
    with pytest.raises(UsageError, match="2 names for 1 outputs"):
        convert_file(str(path), target, output_names=["a", "b"])
    with pytest.raises(UsageError, match="one name"):
        convert_file(str(path), target, rename=["x=y"])
