from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_ir import DataType
from safetensors.torch import save_file

from modelkit.convert import convert_file
from modelkit.convert.precision import Halved, held_weights
from modelkit.errors import UsageError
from modelkit.model import load
from tests.convert import samples
from tests.models import run

LINEAR = "tests.convert.samples:linear"


def weights(folder: Path, kind: torch.dtype) -> Path:
    held = {name: value.to(kind) for name, value in samples.linear().state_dict().items()}
    save_file(held, folder / "net.safetensors")
    return folder / "net.safetensors"


def test_most_weights_decide() -> None:
    half = held_weights([torch.zeros(3, dtype=torch.float16), torch.zeros(2)])
    assert half == ("float16", 14)
    assert held_weights([torch.zeros(3), torch.zeros(2, dtype=torch.bfloat16)]).short == ""
    assert held_weights([torch.zeros(9, dtype=torch.int64)]) == ("", 72)


def test_the_factor_is_measured(tmp_path: Path) -> None:
    held = samples.picture().state_dict()
    kept = {n: v if n.startswith("norm") else v.half() for n, v in held.items()}
    save_file(kept, tmp_path / "net.safetensors")
    report = convert_file(
        str(tmp_path / "net.safetensors"),
        model="tests.convert.samples:picture",
        input_shape=["image:2,3,9,9"],
    )
    factor = float(report.notes[0].split("x larger: source weights were float16")[0])
    before = sum(value.nbytes for value in kept.values())
    tensors = [
        value.const_value for value in load(tmp_path / "net.onnx").graph.initializers.values()
    ]
    after = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    assert factor == round(after / before, 1)
    assert 1 < factor < 2


def test_a_halved_module_takes_and_gives_float32() -> None:
    module = samples.linear().eval()
    x = torch.randn(3, 8)
    (found,) = Halved(module)(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, module(x), atol=5e-3, rtol=5e-3)
    assert next(module.parameters()).dtype == torch.float32


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_wider_results_are_told(kind: torch.dtype, tmp_path: Path) -> None:
    path = weights(tmp_path, kind)
    report = convert_file(str(path), model=LINEAR, input_shape=["x:2,8"])
    assert "2.0x larger" in report.notes[0]
    assert str(kind).removeprefix("torch.") in report.notes[0]
    x = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    module = samples.linear().to(kind).float()
    expected = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(run(tmp_path / "net.onnx", {"x": x})["output"], expected, atol=1e-6)


def test_half_precision_as_asked_or_as_the_source_has_it(tmp_path: Path) -> None:
    path = weights(tmp_path, torch.float16)
    whole = convert_file(str(path), str(tmp_path / "w.onnx"), model=LINEAR, input_shape=["x:2,8"])
    for dtype in ("float16", "source"):
        target = tmp_path / f"{dtype}.onnx"
        report = convert_file(
            str(path), str(target), model=LINEAR, input_shape=["x:2,8"], dtype=dtype
        )
        assert report.verification.step == "fp16"
        assert report.inputs == ("x float[batch, 8]",)
        assert not report.notes
        held = load(target).graph.initializers.values()
        assert any(value.dtype == DataType.FLOAT16 for value in held)
        x = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
        expected = samples.linear()(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(run(target, {"x": x})["output"], expected, atol=5e-3)
    assert whole.result.parameters == report.result.parameters


def test_bfloat16_stays_float32_and_says_so(tmp_path: Path) -> None:
    path = weights(tmp_path, torch.bfloat16)
    report = convert_file(str(path), model=LINEAR, input_shape=["x:2,8"], dtype="source")
    assert "does not compute on CPU" in report.notes[0]
    with pytest.raises(UsageError, match="no weights in float8"):
        convert_file(str(path), model=LINEAR, input_shape=["x:2,8"], dtype="float8")
