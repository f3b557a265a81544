import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modelkit.convert import Options, convert_file, open_source
from modelkit.errors import (
    BadInput,
    CannotWrite,
    CheckFailed,
    Unsupported,
    UsageError,
)
from modelkit.model import history, load, read_inputs
from tests.convert import samples
from tests.models import linear_text, model_file, run

HERE = "tests.convert.samples"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(9)
    save_file(samples.Linear().state_dict(), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def converted(source: Path | str, output: Path, **options: object) -> Path:
    convert_file(str(source), str(output), **options)  # type: ignore[arg-type]
    return output


def test_weights_and_a_factory_become_onnx(weights: Path, tmp_path: Path) -> None:
    report = convert_file(str(weights), model=f"{HERE}:linear", input_shape=["x:2,8"])
    output = tmp_path / "net.onnx"
    assert report.written == str(output)
    assert report.inputs == ("x float[batch, 8]",)
    assert report.result.opset[""] == 20
    shapes = [trial.shapes["x"] for trial in report.verification.trials]
    assert shapes == [[1, 8], [3, 8]], "parity is checked at shapes that were not exported"
    assert report.verification.passed
    module = samples.Linear().eval()
    module.load_state_dict(load_file(str(weights)))
    x = np.random.default_rng(1).standard_normal((6, 8)).astype(np.float32)
    expected = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(run(output, {"x": x})["output"], expected, atol=1e-6)


def test_the_result_tells_its_story_and_nothing_private(weights: Path, tmp_path: Path) -> None:
    output = converted(weights, tmp_path / "m.onnx", model=f"{HERE}:linear", input_shape=["x:2,8"])
    model = load(output)
    assert read_inputs(model)[0].shape == ("batch", 8)
    step = history(model)[-1]
    assert step["verb"] == "convert"
    assert step["recipe"]["model"] == f"{HERE}:linear"
    assert step["decisions"] == ["graph capture: verified"]
    data = output.read_bytes()
    assert str(Path.cwd()).encode() not in data
    assert b"samples.py" not in data


def test_the_same_source_gives_the_same_bytes(weights: Path, tmp_path: Path) -> None:
    digests = {
        hashlib.sha256(
            converted(
                weights, tmp_path / f"{n}.onnx", model=f"{HERE}:linear", input_shape=["x:2,8"]
            ).read_bytes()
        ).hexdigest()
        for n in range(2)
    }
    assert len(digests) == 1


def test_a_module_made_for_training_is_converted_for_inference(tmp_path: Path) -> None:
    report = convert_file(
        f"{HERE}:picture", str(tmp_path / "m.onnx"), input_shape=["image:2,3,9,9"]
    )
    assert report.outputs == ("scores float[batch, 5]", "features float[batch, 4]")
    operators = {node.op_type for node in load(tmp_path / "m.onnx").graph}
    assert "Dropout" not in operators


def test_a_loop_that_tracing_gets_wrong_ends_with_fixed_axes(tmp_path: Path) -> None:
    """Both exporters bake the length of the loop in; only fixed axes are right."""
    report = convert_file(f"{HERE}:rowwise", str(tmp_path / "m.onnx"), input_shape=["x:2,4"])
    assert report.attempts[-1].outcome == "verified"
    assert "fixed axes" in report.attempts[-1].route
    assert report.inputs == ("x float[2, 4]",)
    assert any("the axes are fixed" in note for note in report.notes)
    tracing = next(a for a in report.attempts if a.route == "tracing")
    assert tracing.outcome.startswith("refused")


def test_a_module_of_torch_layers_needs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Tanh()), path)
    report = convert_file(str(path), input_shape=["input:2,8"])
    assert report.framework == "PyTorch"
    assert report.written.endswith("net.onnx")


def test_torchscript_and_its_opset(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.jit.script(samples.linear().eval()).save(str(path))
    report = convert_file(str(path), input_shape=["x:2,8"], opset=13)
    assert report.framework == "TorchScript"
    assert report.attempts[0].route == "tracing"
    assert report.result.opset[""] == 13


def test_words_are_checked_with_a_padded_mask(tmp_path: Path) -> None:
    shapes = ["ids:batch,sequence:int64", "mask:batch,sequence:int64"]
    report = convert_file(f"{HERE}:words", str(tmp_path / "m.onnx"), input_shape=shapes)
    assert report.inputs == ("ids int64[batch, sequence]", "mask int64[batch, sequence]")
    assert report.verification.passed


def test_onnx_passes_through_and_changes_opset_on_request(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(3, 2, opset=13))
    report = convert_file(str(path), str(tmp_path / "same.onnx"))
    assert report.result.opset[""] == 13
    report = convert_file(str(path), str(tmp_path / "new.onnx"), opset=21)
    assert report.result.opset[""] == 21
    assert report.verification.passed
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(run(tmp_path / "new.onnx", {"x": x})["y"],
                               run(path, {"x": x})["y"], atol=1e-6)  # fmt: skip
    assert convert_file(str(path)).written.endswith("m.converted.onnx")


def test_a_second_run_finds_its_work_done(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(torch.nn.Sequential(torch.nn.Linear(8, 4)), path)
    assert not convert_file(str(path), input_shape=["x:2,8"]).up_to_date
    assert convert_file(str(path), input_shape=["x:2,8"]).up_to_date
    with pytest.raises(CannotWrite):
        convert_file(str(path), input_shape=["x:3,8"])
    assert not convert_file(str(path), input_shape=["x:2,8"], opset=19, force=True).up_to_date


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(torch.nn.Sequential(torch.nn.Linear(8, 4)), path)
    report = convert_file(str(path), input_shape=["x:2,8"], dry_run=True)
    assert report.verification.passed
    assert report.written == ""
    assert [file.name for file in tmp_path.iterdir()] == ["net.pt"]


def test_a_pickle_is_refused_without_being_loaded(tmp_path: Path) -> None:
    path, canary = tmp_path / "model.pkl", tmp_path / "canary"
    path.write_bytes(b"\x80\x02cposix\nsystem\nX%c\0\0\0%s\x85R."
                     % (len(str(canary)) + 6, f"touch {canary}".encode()))  # fmt: skip
    with pytest.raises(BadInput, match="runs code when it is loaded") as caught:
        convert_file(str(path))
    assert caught.value.exit_code == 3
    assert "posix" in caught.value.cause
    assert not canary.exists()


def test_a_known_format_without_a_converter_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(12))
    with pytest.raises(Unsupported, match="GGUF, which cannot be converted yet") as caught:
        convert_file(str(tmp_path / "m.gguf"))
    assert caught.value.exit_code == 4
    assert "Hugging Face folder" in caught.value.hint
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(BadInput, match="holds dict, no scikit-learn estimator"):
        convert_file(str(tmp_path / "m.pkl"), trust_source=True)


def test_mistakes_are_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        convert_file(str(tmp_path / "nothere.pt"))
    with pytest.raises(UsageError, match="no file to write beside"):
        convert_file(f"{HERE}:linear")
    (tmp_path / "there.onnx").write_bytes(b"x")
    with pytest.raises(CannotWrite, match="exists"):
        convert_file(f"{HERE}:linear", str(tmp_path / "there.onnx"), input_shape=["x:2,8"])


def test_what_no_exporter_takes_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises((CheckFailed, Unsupported)) as caught:
        convert_file(f"{HERE}:unexportable", str(tmp_path / "m.onnx"), input_shape=["x:2,8"])
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_source_is_opened_without_exporting() -> None:
    opened = open_source(f"{HERE}:linear", options=Options(input_shape=("x:2,8",)))
    assert opened.reference is not None
    assert opened.reference({"x": np.ones((2, 8), np.float32)})["output"].shape == (2, 4)


@pytest.mark.parametrize(("library", "extra"), [("torch", "torch"), ("transformers", "hf")])
def test_a_missing_library_names_its_extra(tmp_path: Path, library: str, extra: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    source = f"{HERE}:linear" if library == "torch" else str(tmp_path)
    code = (
        f"import sys\nsys.modules[{library!r}] = None\n"
        "from modelkit.convert import convert_file\n"
        "from modelkit.errors import MissingExtra\n"
        f"try:\n    convert_file({source!r}, {str(tmp_path / 'm.onnx')!r})\n"
        "except MissingExtra as error:\n    print(error.exit_code, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f'4 pip install "modelkit[{extra}]"'
