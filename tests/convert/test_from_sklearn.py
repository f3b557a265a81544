from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import CategoricalNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC

from modelkit.convert import convert_file
from modelkit.errors import BadInput, Unsupported, UsageError
from tests.convert import tables
from tests.convert.tables import converted
from tests.models import Feeds, run

MODELS: dict[str, tuple[Any, Any]] = {
    "logistic": (make_pipeline(StandardScaler(), LogisticRegression()), tables.binary),
    "svc": (make_pipeline(StandardScaler(), SVC()), tables.binary),
    "linear-svc": (make_pipeline(StandardScaler(), LinearSVC()), tables.binary),
    "svc-classes": (SVC(), tables.classes),
    "svr": (SVR(), tables.numbers),
    "forest": (RandomForestClassifier(10, random_state=0), tables.digits),
    "boosting": (GradientBoostingClassifier(n_estimators=5), tables.classes),
    "boosting-two": (GradientBoostingClassifier(n_estimators=5), tables.binary),
    "histogram": (HistGradientBoostingClassifier(max_iter=4), tables.classes),
    "histogram-two": (HistGradientBoostingClassifier(max_iter=4), tables.binary),
    "histogram-holes": (HistGradientBoostingRegressor(max_iter=5), tables.holes),
    "histogram-poisson": (
        HistGradientBoostingRegressor(max_iter=5, loss="poisson"),
        tables.numbers,
    ),
    "perceptron": (
        make_pipeline(MinMaxScaler(), MLPClassifier((8,), max_iter=40, random_state=0)),
        tables.classes,
    ),
    "neighbours": (KNeighborsClassifier(), tables.classes),
    "bayes": (GaussianNB(), tables.classes),
    "calibrated": (CalibratedClassifierCV(LogisticRegression(max_iter=99), cv=2), tables.classes),
    "quadratic": (QuadraticDiscriminantAnalysis(), tables.classes),
    "isolation": (IsolationForest(n_estimators=5, random_state=0), tables.binary),
    "means": (KMeans(3, n_init=1, random_state=0), tables.classes),
    "components": (make_pipeline(StandardScaler(), PCA(3)), tables.binary),
    "linear": (LinearRegression(), tables.numbers),
}


def library(model: Any, rows: np.ndarray) -> list[np.ndarray]:
    """What scikit-learn gives on float64 rows, in the order of the outputs."""
    if isinstance(model, IsolationForest):
        return [model.predict(rows), model.decision_function(rows)]
    if hasattr(model, "predict_proba"):
        return [model.predict(rows), model.predict_proba(rows)]
    if isinstance(model, KMeans):
        return [model.predict(rows), model.transform(rows)]
    if hasattr(model, "decision_function"):
        scores = model.decision_function(rows)
        scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
        return [model.predict(rows), scores]
    return [model.predict(rows) if hasattr(model, "predict") else model.transform(rows)]


@pytest.mark.parametrize("name", MODELS)
def test_the_result_is_what_the_library_gives(name: str, tmp_path: Path) -> None:
    model, data = MODELS[name]
    values, target = data()
    model.fit(values, target)
    _, output = converted(model, tmp_path)
    rows = values[1::3].astype(np.float32)
    found = run(output, {"X": rows})
    for actual, expected in zip(
        found.values(), library(model, rows.astype(np.float64)), strict=True
    ):
        scale = np.abs(expected).max()
        actual = actual.reshape(expected.shape)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5 * scale)


def test_columns_of_strings_and_numbers(tmp_path: Path) -> None:
    report, output = converted(tables.passenger_pipeline(), tmp_path)
    assert report.inputs == (
        "age float[batch, 1]",
        "fare float[batch, 1]",
        "sex string[batch, 1]",
        "city string[batch, 1]",
        "deck int64[batch, 1]",
    )
    table, _ = tables.passengers()
    table.loc[3, "city"] = "Nowhere"
    feeds: Feeds = {}
    for name in ("age", "fare", "sex", "city", "deck"):
        kind = {"a": np.float32, "f": np.float32, "d": np.int64}.get(name[0], object)
        feeds[name] = table[[name]].to_numpy().astype(kind)
    found = run(output, feeds)
    model = tables.passenger_pipeline()
    np.testing.assert_array_equal(found["label"], model.predict(table))
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(table), atol=2e-6)


def test_texts(tmp_path: Path) -> None:
    report, output = converted(tables.text_pipeline(), tmp_path)
    assert report.inputs == ("text string[batch]",)
    lines = ["hello bye", "something unheard of", "peace now peace", "world"]
    found = run(output, {"text": np.array(lines, dtype=object)})
    model = tables.text_pipeline()
    assert found["label"].tolist() == model.predict(lines).tolist()
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(lines), atol=2e-6)


def test_a_scaler_before_a_model_that_takes_no_missing_values(tmp_path: Path) -> None:
    table = pd.DataFrame({"title": tables.TEXTS, "age": range(len(tables.TEXTS))})
    parts = [("t", CountVectorizer(), "title"), ("n", StandardScaler(), ["age"])]
    model = make_pipeline(ColumnTransformer(parts), LogisticRegression())
    _, output = converted(model.fit(table, tables.TEXT_CLASSES), tmp_path)
    feeds = {
        "title": table[["title"]].to_numpy().astype(object),
        "age": table[["age"]].to_numpy().astype(np.float32),
    }
    found = run(output, feeds)["probabilities"]
    np.testing.assert_allclose(found, model.predict_proba(table), atol=2e-6)


def test_string_labels_stay_strings(tmp_path: Path) -> None:
    values, target = tables.classes()
    names = np.array(["setosa", "versicolor", "virginica"])[target]
    model = RandomForestClassifier(5, random_state=0).fit(values, names)
    _, output = converted(model, tmp_path)
    found = run(output, {"X": values.astype(np.float32)})
    assert found["label"].tolist() == model.predict(values.astype(np.float32)).tolist()


def test_splits_behind_a_scaler_are_told_and_double_cures_them(tmp_path: Path) -> None:
    values, target = tables.binary()
    model = make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=0))
    model.fit(values, target)
    report, _ = converted(model, tmp_path)
    assert any("lie exactly on splits" in note and "--double" in note for note in report.notes)
    report, output = converted(model, tmp_path, double=True, force=True)
    assert report.inputs == ("X double[batch, 30]",)
    assert not report.notes
    found = run(output, {"X": values})
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(values), atol=1e-6)


def test_a_pickle_needs_trust(tmp_path: Path) -> None:
    values, target = tables.classes()
    joblib.dump(LogisticRegression(max_iter=99).fit(values, target), tmp_path / "m.joblib")
    with pytest.raises(BadInput, match="runs code") as caught:
        convert_file(str(tmp_path / "m.joblib"))
    assert "skops" in caught.value.hint
    report = convert_file(str(tmp_path / "m.joblib"), trust_source=True)
    assert report.verification.passed
    assert report.framework == "scikit-learn LogisticRegression"


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    values, target = tables.classes()
    model = make_pipeline(FunctionTransformer(np.log1p), GaussianNB()).fit(values, target)
    with pytest.raises(Unsupported, match="skl2onnx") as caught:
        converted(model, tmp_path)
    assert "FunctionTransformer" in caught.value.cause
    assert "replace that step" in caught.value.hint
    joblib.dump({"weights": values, "of": LogisticRegression}, tmp_path / "m.pkl")
    with pytest.raises(BadInput, match="holds dict"):
        convert_file(str(tmp_path / "m.pkl"), trust_source=True)


def test_a_vote_of_estimators(tmp_path: Path) -> None:
    values, target = tables.classes()
    parts = [("l", LogisticRegression(max_iter=99)), ("f", RandomForestClassifier(3))]
    model = VotingClassifier(parts, voting="soft").fit(values, target)
    _, output = converted(model, tmp_path)
    found = run(output, {"X": values.astype(np.float32)})
    expected = model.predict_proba(values.astype(np.float32))
    np.testing.assert_allclose(found["probabilities"], expected, atol=2e-6)


def test_the_opset_asked_for_is_written(tmp_path: Path) -> None:
    source = tables.saved(tables.passenger_pipeline(), tmp_path / "m.skops")
    for opset in (15, 21):
        report = convert_file(str(source), str(tmp_path / f"{opset}.onnx"), opset=opset)
        assert report.result.opset[""] == opset
        assert report.verification.passed
    with pytest.raises(Unsupported, match="cannot become opset 99"):
        convert_file(str(source), str(tmp_path / "99.onnx"), opset=99)


def test_codes_and_counts_are_drawn_as_the_model_takes_them(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4, (50, 3)).astype(float)
    for model in (OneHotEncoder(), OrdinalEncoder(), MultinomialNB()):
        converted(model.fit(values, values[:, 0] > 1), tmp_path, force=True)
        rows = values.astype(np.float32)
        found = list(run(tmp_path / "m.onnx", {"X": rows}).values())
        expected = library(model, values)
        expected = [v.toarray() if hasattr(v, "toarray") else v for v in expected]
        for actual, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-5)


def test_rows_that_only_the_user_knows_come_from_a_sample(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2, (50, 3))
    values[:, 1] = 0
    model = CategoricalNB().fit(values, values[:, 0])
    joblib.dump(model, tmp_path / "m.pkl")
    with pytest.raises(UsageError, match="on the rows tried") as caught:
        convert_file(str(tmp_path / "m.pkl"), trust_source=True)
    assert "IndexError" in caught.value.cause
    assert "--sample" in caught.value.hint
    np.savez(tmp_path / "rows.npz", X=values[:40].astype(np.float32))
    report = convert_file(
        str(tmp_path / "m.pkl"), trust_source=True, sample=str(tmp_path / "rows.npz")
    )
    assert report.verification.passed
    assert report.verification.inputs == "--sample rows.npz"


def test_a_model_that_says_nothing_of_new_rows_is_refused(tmp_path: Path) -> None:
    joblib.dump(DBSCAN().fit(tables.classes()[0]), tmp_path / "m.pkl")
    with pytest.raises(Unsupported, match="says nothing of new rows"):
        convert_file(str(tmp_path / "m.pkl"), trust_source=True)
