from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("libsvm")

from libsvm import svmutil

from modelkit.convert import convert_file
from modelkit.errors import BadInput, CheckFailed, Unsupported, UsageError
from tests.convert.opsets import check_opsets
from tests.models import run

FILES = sorted((Path(__file__).parent / "files").glob("*.libsvm"))
"""Trained by LibSVM 3.37 on iris and diabetes."""


def test_there_is_a_file_of_each_kind() -> None:
    heads = {tuple(path.read_text().split()[1:4:2]) for path in FILES}
    assert {kind for kind, _ in heads} == {"c_svc", "nu_svc", "one_class", "epsilon_svr", "nu_svr"}
    assert {kernel for _, kernel in heads} == {"linear", "polynomial", "rbf", "sigmoid"}


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_predictions_are_those_of_the_library(path: Path, double: bool, tmp_path: Path) -> None:
    if double and path.stem == "probabilities":
        with pytest.raises(UsageError, match="float32 only"):
            convert_file(str(path), str(tmp_path / "m.onnx"), double=True)
        return
    if path.stem == "polynomial" and not double:
        with pytest.raises(CheckFailed) as caught:
            convert_file(str(path), str(tmp_path / "m.onnx"))
        assert "--double" in caught.value.hint
        return
    report = convert_file(str(path), str(tmp_path / "m.onnx"), double=double)
    assert report.verification.passed
    library = svmutil.svm_load_model(str(path))
    random = np.random.default_rng(3)
    columns = 10 if "svr" in path.stem else 4
    rows = random.uniform(-1, 6, (40, columns)).astype(np.float64 if double else np.float32)
    flags = "-q -b 1" if "probabilities" in path.stem else "-q"
    labels, _, values = svmutil.svm_predict([0] * 40, rows.astype(float).tolist(), library, flags)
    found = run(tmp_path / "m.onnx", {"X": rows})
    if "svr" in path.stem:
        np.testing.assert_allclose(found["prediction"].ravel(), labels, rtol=1e-5)
        return
    np.testing.assert_array_equal(found["label"], labels)
    (scores,) = (value for name, value in found.items() if name != "label")
    scale = np.abs(values).max()
    np.testing.assert_allclose(scores, values, rtol=0, atol=1e-5 * scale)


def test_rows_may_be_wider_than_the_file_knows(tmp_path: Path) -> None:
    path = next(path for path in FILES if path.stem == "c-svc")
    report = convert_file(str(path), str(tmp_path / "m.onnx"), input_shape=["X:batch,7"])
    assert report.inputs == ("X float[batch, 7]",)
    with pytest.raises(UsageError, match="at least 4 columns") as caught:
        convert_file(str(path), str(tmp_path / "n.onnx"), input_shape=["X:batch,3"])
    assert "--input-shape X:batch,4" in caught.value.hint


def test_broken_and_unknown_files_are_told(tmp_path: Path) -> None:
    text = next(path for path in FILES if path.stem == "c-svc").read_text()
    target = tmp_path / "m.model"
    for broken, cause in (
        (text[: len(text) // 2], "support vector"),
        (text.replace("rho", "hro"), "no line 'rho'"),
        (text.replace("1:", "-1:", 1), "no support vector"),
        (text.replace("gamma 0", "gamma x0"), "could not convert"),
        (text.replace("4:", "4000000000:", 1), "largest feature number"),
    ):
        target.write_text(broken)
        with pytest.raises(BadInput, match="no whole LibSVM model") as caught:
            convert_file(str(target))
        assert cause in caught.value.cause
    target.write_text(text.replace("rbf", "precomputed"))
    with pytest.raises(Unsupported, match="precomputed kernel"):
        convert_file(str(target))


def test_the_opset_asked_for_is_written_or_refused(tmp_path: Path) -> None:
    path = next(path for path in FILES if path.stem == "probabilities")
    check_opsets(path, tmp_path, least=3)
