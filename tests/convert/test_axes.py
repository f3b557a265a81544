from pathlib import Path

import pytest

from modelkit.convert import convert_file
from modelkit.convert.axes import parse_axes
from modelkit.errors import UsageError
from modelkit.model import load
from tests.convert import samples
from tests.models import linear_text, model_file

HERE = "tests.convert.samples"


def test_texts_are_inputs_axes_and_names() -> None:
    assert parse_axes(("x:0=batch,1=seq", "a:b:2=n")) == {
        "x": {0: "batch", 1: "seq"},
        "a:b": {2: "n"},
    }
    for wrong in ("x", "x:0", "x:a=b", ":0=b", "x:0=a,0=b", "x:0=1b"):
        with pytest.raises(UsageError, match="is not NAME:AXIS=NAME"):
            parse_axes((wrong,))


def test_a_torch_module_gets_the_axes_it_is_asked_for(tmp_path: Path) -> None:
    report = convert_file(
        f"{HERE}:picture",
        str(tmp_path / "m.onnx"),
        input_shape=["image:2,3,32,40"],
        dynamic_axes=["image:0=n,2=height,3=width"],
    )
    assert report.inputs == ("image float[n, 3, height, width]",)
    lengths = [trial.shapes["image"] for trial in report.verification.trials]
    assert len({tuple(shape) for shape in lengths}) == 2


def test_static_shapes_are_exactly_those_given(tmp_path: Path) -> None:
    report = convert_file(
        f"{HERE}:linear", str(tmp_path / "m.onnx"), input_shape=["x:1,8"], static=True
    )
    assert report.inputs == ("x float[1, 8]",)
    assert report.outputs == ("output float[1, 4]",)
    with pytest.raises(UsageError, match="needs a length for 'batch'") as caught:
        convert_file(
            f"{HERE}:linear", str(tmp_path / "n.onnx"), input_shape=["x:batch,8"], static=True
        )
    assert "batch=LENGTH" in caught.value.hint


def test_axes_of_a_folder_are_renamed_or_fixed(tmp_path: Path) -> None:
    folder = samples.bert_folder(tmp_path / "bert", "BertModel")
    names = ["input_ids:0=n,1=words"]
    report = convert_file(str(folder), str(tmp_path / "m.onnx"), dynamic_axes=names)
    assert report.inputs[1] == "attention_mask int64[n, words]"
    assert report.outputs[0].endswith("float[n, words, 16]")
    with pytest.raises(UsageError, match="needs the length of sequence") as caught:
        convert_file(str(folder), str(tmp_path / "n.onnx"), static=True)
    assert "--input-shape input_ids:1,128" in caught.value.hint
    report = convert_file(
        str(folder), str(tmp_path / "n.onnx"), static=True, input_shape=["input_ids:2,12"]
    )
    assert report.inputs[0] == "input_ids int64[2, 12]"
    (output,) = load(tmp_path / "n.onnx").graph.outputs
    assert list(output.shape or ()) == [2, 12, 16]


def test_what_cannot_be_dynamic_is_told(tmp_path: Path) -> None:
    path = model_file(tmp_path / "a.onnx", linear_text(4, 3))
    for axes, words in (
        ("x:1=m", "axis 1 of 'x' cannot be dynamic"),
        ("q:0=m", "which is no input"),
    ):
        with pytest.raises(UsageError, match=words):
            convert_file(str(path), str(tmp_path / "b.onnx"), dynamic_axes=[axes])
    report = convert_file(str(path), str(tmp_path / "b.onnx"), dynamic_axes=["x:0=rows"])
    assert report.inputs == ("x float[rows, 4]",)
    assert report.verification.passed
