from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from modelkit.convert import convert_file
from modelkit.errors import BadInput, Unsupported, UsageError
from tests.convert import tables
from tests.convert.opsets import check_opsets
from tests.models import run

catboost = pytest.importorskip("catboost")

CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "two classes": ("CatBoostClassifier", tables.binary, {}),
    "classes": ("CatBoostClassifier", tables.digits, {}),
    "one against all": (
        "CatBoostClassifier",
        tables.digits,
        {"loss_function": "MultiClassOneVsAll"},
    ),
    "named classes": ("CatBoostClassifier", tables.named_classes, {}),
    "numbers": ("CatBoostRegressor", tables.numbers, {}),
    "missing is low": ("CatBoostRegressor", tables.holes, {}),
    "missing is high": ("CatBoostRegressor", tables.holes, {"nan_mode": "Max"}),
    "leaf by leaf": ("CatBoostRegressor", tables.numbers, {"grow_policy": "Lossguide"}),
    "by depth": ("CatBoostClassifier", tables.digits, {"grow_policy": "Depthwise"}),
    "several": ("CatBoostRegressor", tables.pairs, {"loss_function": "MultiRMSE"}),
    "quantiles": (
        "CatBoostRegressor",
        tables.numbers,
        {"loss_function": "MultiQuantile:alpha=0.1,0.9"},
    ),
    "shares": ("CatBoostClassifier", tables.shares, {"loss_function": "CrossEntropy"}),
    "poisson": ("CatBoostRegressor", tables.numbers, {"loss_function": "Poisson"}),
}
QUIET = {"verbose": 0, "allow_writing_files": False, "iterations": 6, "depth": 4}


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_the_library(name: str, tmp_path: Path) -> None:
    kind, data, parameters = CASES[name]
    values, target = data()
    model = getattr(catboost, kind)(**QUIET, **parameters).fit(values, target)
    model.save_model(str(tmp_path / "m.cbm"))
    report = convert_file(str(tmp_path / "m.cbm"), str(tmp_path / "m.onnx"))
    assert report.verification.passed
    rows = values[::3].astype(np.float32)
    found = list(run(tmp_path / "m.onnx", {"X": rows}).values())
    if kind == "CatBoostClassifier":
        assert found[0].tolist() == model.predict(rows).ravel().tolist()
        np.testing.assert_allclose(found[1], model.predict_proba(rows), atol=2e-6)
        return
    expected = model.predict(rows)
    np.testing.assert_allclose(found[0].reshape(expected.shape), expected, rtol=3e-6)


def test_several_labels_at_once(tmp_path: Path) -> None:
    values, target = tables.labels()
    model = catboost.CatBoostClassifier(**QUIET, loss_function="MultiLogloss").fit(values, target)
    model.save_model(str(tmp_path / "m.cbm"))
    report = convert_file(str(tmp_path / "m.cbm"), str(tmp_path / "m.onnx"))
    assert report.verification.passed
    rows = values[::3].astype(np.float32)
    (found,) = run(tmp_path / "m.onnx", {"X": rows}).values()
    np.testing.assert_allclose(found, model.predict_proba(rows), atol=2e-6)


def test_json_and_pickles_are_read_too(tmp_path: Path) -> None:
    values, target = tables.classes()
    model = catboost.CatBoostClassifier(**QUIET).fit(values, target)
    model.save_model(str(tmp_path / "m.json"), format="json")
    joblib.dump(model, tmp_path / "p.pkl")
    for name, trust in (("m.json", False), ("p.pkl", True)):
        report = convert_file(str(tmp_path / name), trust_source=trust)
        assert report.framework == "CatBoost (MultiClass)"
        assert report.verification.passed


def test_categories_are_refused_with_the_reason(tmp_path: Path) -> None:
    table, target = tables.passengers()
    rows = table[["sex", "fare"]]
    model = catboost.CatBoostClassifier(**QUIET).fit(rows, target, cat_features=["sex"])
    model.save_model(str(tmp_path / "m.cbm"))
    with pytest.raises(Unsupported, match="takes categories: CatBoost hashes") as caught:
        convert_file(str(tmp_path / "m.cbm"))
    assert "encode them as numbers" in caught.value.hint


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.cbm").write_bytes(b"CBM1" + bytes(40))
    with pytest.raises(BadInput, match="could not be loaded by CatBoost"):
        convert_file(str(tmp_path / "m.cbm"))
    values, target = tables.numbers()
    model = catboost.CatBoostRegressor(**QUIET).fit(values, target)
    model.save_model(str(tmp_path / "n.cbm"))
    with pytest.raises(UsageError, match="computes in float32"):
        convert_file(str(tmp_path / "n.cbm"), double=True)
    other = catboost.CatBoostRegressor(**QUIET, loss_function="RMSEWithUncertainty")
    other.fit(values, target).save_model(str(tmp_path / "o.cbm"))
    with pytest.raises(Unsupported, match="RMSEWithUncertainty"):
        convert_file(str(tmp_path / "o.cbm"))


def test_the_opset_asked_for_is_written_or_refused(tmp_path: Path) -> None:
    values, target = tables.binary()
    catboost.CatBoostClassifier(**QUIET).fit(values, target).save_model(str(tmp_path / "m.cbm"))
    check_opsets(tmp_path / "m.cbm", tmp_path, least=3)
