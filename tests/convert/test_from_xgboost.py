from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelkit.convert import convert_file
from modelkit.errors import BadInput, Unsupported, UsageError
from tests.convert import tables
from tests.convert.opsets import check_opsets
from tests.models import run

xgboost = pytest.importorskip("xgboost")

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "two classes": (tables.binary, {"objective": "binary:logistic"}),
    "softprob": (tables.digits, {"objective": "multi:softprob", "num_class": 10}),
    "softmax": (tables.digits, {"objective": "multi:softmax", "num_class": 10}),
    "logits": (tables.binary, {"objective": "binary:logitraw"}),
    "hinge": (tables.binary, {"objective": "binary:hinge"}),
    "numbers": (tables.numbers, {}),
    "missing": (tables.holes, {}),
    "poisson": (tables.numbers, {"objective": "count:poisson"}),
    "gamma": (tables.numbers, {"objective": "reg:gamma"}),
    "quantiles": (
        tables.numbers,
        {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]},
    ),
    "dart": (tables.numbers, {"booster": "dart", "rate_drop": 0.5}),
    "linear": (tables.holes, {"booster": "gblinear"}),
    "linear classes": (
        tables.digits,
        {"booster": "gblinear", "objective": "multi:softprob", "num_class": 10},
    ),
    "forest": (tables.numbers, {"num_parallel_tree": 4, "subsample": 0.8, "learning_rate": 1}),
    "targets": (tables.pairs, {}),
    "target vectors": (tables.pairs, {"multi_strategy": "multi_output_tree"}),
    "categories": (tables.codes, {"objective": "binary:logistic", "max_cat_to_onehot": 1}),
    "one category": (tables.codes, {"objective": "binary:logistic", "max_cat_to_onehot": 99}),
}


def matrix(rows: np.ndarray, coded: bool, target: Any = None) -> Any:
    kinds = ["c", *["q"] * (rows.shape[1] - 1)] if coded else None
    return xgboost.DMatrix(rows, target, feature_types=kinds, enable_categorical=True)


@pytest.mark.parametrize(
    ("name", "form"),
    [*((name, "json") for name in CASES), ("softprob", "ubj"), ("categories", "ubj")],
)
def test_predictions_are_those_of_the_library(name: str, form: str, tmp_path: Path) -> None:
    data, parameters = CASES[name]
    values, target = data()
    coded = data is tables.codes
    booster = xgboost.train({"max_depth": 4, **parameters}, matrix(values, coded, target), 6)
    booster.save_model(tmp_path / f"m.{form}")
    report = convert_file(str(tmp_path / f"m.{form}"), str(tmp_path / "m.onnx"))
    assert report.verification.passed
    rows = values[::3].astype(np.float32)
    found = list(run(tmp_path / "m.onnx", {"X": rows}).values())
    expected = booster.predict(matrix(rows, coded))
    if name == "softmax":
        np.testing.assert_array_equal(found[0], expected)
        return
    if name in ("two classes", "categories", "one category"):
        np.testing.assert_array_equal(found[0], expected > 0.5)
        found[-1] = found[-1][:, 1]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        found[-1].reshape(expected.shape), expected, rtol=0, atol=3e-6 * scale
    )


def test_estimators_and_pipelines_from_pickles(tmp_path: Path) -> None:
    values, target = tables.classes()
    names = np.array([4, 7, 9])[target]
    model = xgboost.XGBClassifier(n_estimators=4).fit(values, target)
    joblib.dump(model, tmp_path / "m.pkl")
    report = convert_file(str(tmp_path / "m.pkl"), trust_source=True)
    assert report.framework == "XGBoost (multi:softprob)"
    rows = values.astype(np.float32)
    found = run(tmp_path / "m.onnx", {"X": rows})
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows), atol=1e-6)
    pipeline = make_pipeline(StandardScaler(), xgboost.XGBRegressor(n_estimators=4))
    pipeline.fit(values, names)
    joblib.dump(pipeline, tmp_path / "p.pkl")
    report = convert_file(str(tmp_path / "p.pkl"), trust_source=True)
    assert report.verification.passed
    found = run(tmp_path / "p.onnx", {"X": rows})
    np.testing.assert_allclose(found["prediction"].ravel(), pipeline.predict(values), rtol=1e-5)


def test_rounds_after_the_best_are_told(tmp_path: Path) -> None:
    values, target = tables.numbers()
    data = xgboost.DMatrix(values[:200], target[:200])
    held = xgboost.DMatrix(values[200:], target[200:])
    booster = xgboost.train(
        {"max_depth": 6, "eta": 0.9}, data, 30, [(held, "v")], early_stopping_rounds=3, verbose_eval=False
    )  # fmt: skip
    booster.save_model(tmp_path / "m.json")
    report = convert_file(str(tmp_path / "m.json"))
    assert "rounds are converted; training was best after" in report.notes[0]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"learner":{"attributes":{}')
    with pytest.raises(BadInput, match="could not be loaded by XGBoost"):
        convert_file(str(tmp_path / "m.json"))
    values, target = tables.numbers()
    booster = xgboost.train({}, xgboost.DMatrix(values, target), 1)
    booster.save_model(tmp_path / "n.json")
    with pytest.raises(UsageError, match="computes in float32"):
        convert_file(str(tmp_path / "n.json"), double=True)
    text = (tmp_path / "n.json").read_text().replace("reg:squarederror", "reg:logistic")
    (tmp_path / "n.json").write_text(text)
    with pytest.raises((BadInput, Unsupported)):
        convert_file(str(tmp_path / "n.json"))


def test_the_opset_asked_for_is_written_or_refused(tmp_path: Path) -> None:
    values, target = tables.binary()
    settings = {"objective": "binary:logistic"}
    xgboost.train(settings, matrix(values, False, target), 3).save_model(tmp_path / "m.json")
    check_opsets(tmp_path / "m.json", tmp_path, least=3)
