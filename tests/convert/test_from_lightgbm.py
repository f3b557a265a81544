from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelkit.convert import convert_file
from modelkit.errors import BadInput, Unsupported
from tests.convert import tables
from tests.convert.opsets import check_opsets
from tests.models import run

lightgbm = pytest.importorskip("lightgbm")

BAGGED = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}
CATEGORIES = {"objective": "binary", "min_data_per_group": 1, "cat_smooth": 1}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "two classes": (tables.binary, {"objective": "binary", "sigmoid": 2.0}),
    "classes": (tables.digits, {"objective": "multiclass", "num_class": 10}),
    "one against all": (tables.digits, {"objective": "multiclassova", "num_class": 10}),
    "numbers": (tables.numbers, {}),
    "missing": (tables.holes, {}),
    "zero is missing": (tables.zeros, {"zero_as_missing": True}),
    "nothing is missing": (tables.holes, {"use_missing": False}),
    "square root": (tables.numbers, {"reg_sqrt": True}),
    "poisson": (tables.numbers, {"objective": "poisson"}),
    "cross entropy": (tables.binary, {"objective": "cross_entropy"}),
    "cross entropy lambda": (tables.binary, {"objective": "cross_entropy_lambda"}),
    "dart": (tables.numbers, {"boosting": "dart", "drop_rate": 0.5}),
    "forest": (tables.numbers, BAGGED),
    "forest of two classes": (tables.binary, {"objective": "binary", **BAGGED}),
    "linear trees": (tables.numbers, {"linear_tree": True}),
    "linear trees, missing": (tables.holes, {"linear_tree": True}),
    "linear trees of classes": (
        tables.digits,
        {"objective": "multiclass", "num_class": 10, "linear_tree": True},
    ),
    "categories": (tables.codes, CATEGORIES),
    "categories, missing": (tables.coded_holes, CATEGORIES),
    "a constant": (tables.constant, {}),
}


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_the_library(name: str, double: bool, tmp_path: Path) -> None:
    data, parameters = CASES[name]
    values, target = data()
    coded = data in (tables.codes, tables.coded_holes)
    dataset = lightgbm.Dataset(values, target, categorical_feature=[0] if coded else "auto")
    settings = {"verbose": -1, "num_leaves": 12, "num_threads": 2, **parameters}
    booster = lightgbm.train(settings, dataset, 6)
    booster.save_model(tmp_path / "m.txt")
    report = convert_file(str(tmp_path / "m.txt"), str(tmp_path / "m.onnx"), double=double)
    assert report.verification.passed
    rows = values[::3].astype(np.float64 if double else np.float32)
    found = list(run(tmp_path / "m.onnx", {"X": rows}).values())
    expected = booster.predict(rows.astype(np.float64))
    if parameters.get("objective") == "binary":
        np.testing.assert_array_equal(found[0], expected > 0.5)
        found[-1] = found[-1][:, 1]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        found[-1].reshape(expected.shape), expected, rtol=0, atol=3e-6 * scale
    )


def test_estimators_and_pipelines_from_pickles(tmp_path: Path) -> None:
    values, target = tables.classes()
    names = np.array(["low", "mid", "high"])[target]
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(values, names)
    joblib.dump(model, tmp_path / "m.pkl")
    report = convert_file(str(tmp_path / "m.pkl"), trust_source=True)
    assert report.framework == "LightGBM (multiclass)"
    found = run(tmp_path / "m.onnx", {"X": values.astype(np.float32)})
    rows = values.astype(np.float32).astype(np.float64)
    assert found["label"].tolist() == model.predict(rows).tolist()
    pipeline = make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(n_estimators=3, verbose=-1))
    pipeline.fit(values, names)
    joblib.dump(pipeline, tmp_path / "p.pkl")
    report = convert_file(str(tmp_path / "p.pkl"), trust_source=True, double=True)
    assert report.framework == "scikit-learn LGBMClassifier"
    found = run(tmp_path / "p.onnx", {"X": values})
    assert found["label"].tolist() == pipeline.predict(values).tolist()
    np.testing.assert_allclose(found["probabilities"], pipeline.predict_proba(values), atol=1e-6)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("tree\nversion=v4\nnum_class=1\n")
    with pytest.raises(BadInput, match="no whole LightGBM model"):
        convert_file(str(tmp_path / "m.txt"))
    values, target = tables.numbers()
    booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(values, target), 2)
    text = booster.model_to_string()
    (tmp_path / "n.txt").write_text(text.replace("Tree=1", "leaf=2\n\nTree=1"))
    with pytest.raises(BadInput, match="no whole LightGBM model") as caught:
        convert_file(str(tmp_path / "n.txt"))
    assert "tree 1" in caught.value.cause
    both = text.replace("decision_type=2 2", "decision_type=6 8", 1)
    (tmp_path / "n.txt").write_text(both)
    with pytest.raises(Unsupported, match="zeros for missing, others NaN"):
        convert_file(str(tmp_path / "n.txt"))


def test_the_opset_asked_for_is_written_or_refused(tmp_path: Path) -> None:
    values, target = tables.binary()
    dataset = lightgbm.Dataset(values, target)
    lightgbm.train({"objective": "binary", "verbose": -1}, dataset, 3).save_model(
        tmp_path / "m.txt"
    )
    check_opsets(tmp_path / "m.txt", tmp_path, least=3)
