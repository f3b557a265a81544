from pathlib import Path

import numpy as np
import pytest

from modelkit.convert import convert_file
from modelkit.errors import BadInput, UsageError
from tests.models import linear_text, model_file

HERE = "tests.convert.samples"


def test_parity_is_measured_on_the_sample(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", x=np.ones((5, 8)), unused=np.ones(3))
    report = convert_file(
        f"{HERE}:linear",
        str(tmp_path / "m.onnx"),
        input_shape=["x:2,8"],
        sample=str(tmp_path / "s.npz"),
    )
    assert report.verification.inputs == "--sample s.npz"
    assert [trial.shapes["x"] for trial in report.verification.trials] == [[5, 8], [3, 8]]


def test_an_onnx_file_takes_one_too(tmp_path: Path) -> None:
    path = model_file(tmp_path / "a.onnx", linear_text(4, 3))
    np.savez(tmp_path / "s.npz", x=np.ones((1, 4), np.float32))
    report = convert_file(str(path), str(tmp_path / "b.onnx"), sample=str(tmp_path / "s.npz"))
    assert [trial.shapes["x"] for trial in report.verification.trials] == [[1, 4]]


def test_samples_that_do_not_fit_are_told(tmp_path: Path) -> None:
    path = model_file(tmp_path / "a.onnx", linear_text(4, 3))
    sample, target = tmp_path / "s.npz", str(tmp_path / "b.onnx")
    sample.write_bytes(b"PK nothing")
    with pytest.raises(BadInput, match="no .npz file"):
        convert_file(str(path), target, sample=str(sample))
    np.save(tmp_path / "s.npy", np.ones((1, 4), np.float32))
    with pytest.raises(BadInput, match="no .npz file") as caught:
        convert_file(str(path), target, sample=str(tmp_path / "s.npy"))
    assert "one array" in caught.value.cause
    for arrays, words in (
        ({"y": np.ones((1, 4))}, "no array 'x'"),
        ({"x": np.ones((1, 5))}, "not \\['n', 4\\]"),
        ({"x": np.ones((1, 4), complex)}, "complex128, not float32"),
        ({"x": np.array([["a"] * 4])}, "not float32"),
    ):
        np.savez(sample, **arrays)
        with pytest.raises(UsageError, match=words):
            convert_file(str(path), target, sample=str(sample))
