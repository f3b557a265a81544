from pathlib import Path

import numpy as np
import pytest

from modelkit.comparison import compare_files
from modelkit.errors import UsageError
from tests.models import linear_text, model_file

HEAD = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 4] y)'


def pair(tmp_path: Path, one: str, two: str) -> tuple[str, str]:
    return (
        str(model_file(tmp_path / "1.onnx", f"{HEAD} {{ {one} }}")),
        str(model_file(tmp_path / "2.onnx", f"{HEAD} {{ {two} }}")),
    )


def test_equal_models(tmp_path: Path) -> None:
    report = compare_files(*pair(tmp_path, "y = Exp(x)", "y = Exp(x)"))
    assert report.passed
    assert report.outputs[0].cosine == pytest.approx(1.0)
    assert report.samples > 4


def test_a_difference_fails_by_default_and_passes_within_what_is_allowed(tmp_path: Path) -> None:
    models = pair(
        tmp_path, "y = Exp(x)", "k = Constant<value_float=1.01>() e = Exp(x) y = Mul(e, k)"
    )
    assert not compare_files(*models).passed
    found = compare_files(*models, rtol=0.02)
    assert found.passed
    assert found.outputs[0].relative == pytest.approx(0.01, rel=0.1)
    assert found.outputs[0].sqnr == pytest.approx(40, abs=0.5)
    assert not compare_files(*models, atol=1e-6, rtol=0.02).passed


def test_nan_in_one_model_fails(tmp_path: Path) -> None:
    report = compare_files(*pair(tmp_path, "y = Exp(x)", "y = Sqrt(x)"))
    assert not report.passed


def test_real_data_and_neighbours(tmp_path: Path) -> None:
    np.save(
        tmp_path / "d.npy", np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    )
    models = pair(tmp_path, "y = Exp(x)", "y = Exp(x)")
    report = compare_files(*models, eval_data=str(tmp_path / "d.npy"))
    assert (report.samples, report.inputs) == (40, "from d.npy")
    assert report.outputs[0].top10 == 1.0


def test_integers_are_judged_by_agreement(tmp_path: Path) -> None:
    head = HEAD.replace("float[n, 4] y", "int64[n, 1] y")
    one = model_file(tmp_path / "1.onnx", f"{head} {{ y = ArgMax<axis=1>(x) }}")
    two = model_file(tmp_path / "2.onnx", f"{head} {{ y = ArgMin<axis=1>(x) }}")
    assert not compare_files(str(one), str(two)).passed
    assert compare_files(str(one), str(one)).passed


def test_other_inputs_or_outputs_are_usage_errors(tmp_path: Path) -> None:
    one = str(model_file(tmp_path / "1.onnx", f"{HEAD} {{ y = Exp(x) }}"))
    other = str(model_file(tmp_path / "3.onnx", f"{HEAD.replace(' x)', ' z)')} {{ y = Exp(z) }}"))
    with pytest.raises(UsageError, match="different inputs"):
        compare_files(one, other)
    renamed = HEAD.replace("4] y", "4] r")
    report = compare_files(one, str(model_file(tmp_path / "4.onnx", f"{renamed} {{ r = Exp(x) }}")))
    assert report.passed
    assert "paired by position" in report.notes[0]


def test_a_quantized_model_is_judged_as_one(tmp_path: Path) -> None:
    from modelkit.quantize import quantize_file

    path = model_file(tmp_path / "m.onnx", linear_text(64, 256))
    written = quantize_file(str(path), measure=False).written
    report = compare_files(str(path), written)
    assert report.passed
    assert "int8" in report.criterion
