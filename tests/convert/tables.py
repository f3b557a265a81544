"""Small trained models of tables, and what their library says of rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from modelkit.convert import convert_file
from modelkit.reports import ConvertReport

Data = tuple[np.ndarray, np.ndarray]

TEXTS = ["hello world", "good bye", "hello there", "bye now", "world peace today"] * 4
TEXT_CLASSES = ["in", "out", "in", "out", "in"] * 4


def binary() -> Data:
    values, target = load_breast_cancer(return_X_y=True)
    return values, target


def classes() -> Data:
    values, target = load_iris(return_X_y=True)
    return values, target


def digits() -> Data:
    values, target = load_digits(return_X_y=True)
    return values[:600], target[:600]


def numbers() -> Data:
    values, target = load_diabetes(return_X_y=True)
    return values, target


def holes() -> Data:
    """Numbers, a tenth of which are missing."""
    values, target = numbers()
    gone = np.random.default_rng(0).random(values.shape) < 0.1
    return np.where(gone, np.nan, values), target


def zeros() -> Data:
    """Numbers, a fifth of which are zero."""
    values, target = numbers()
    return np.where(np.random.default_rng(0).random(values.shape) < 0.2, 0, values), target


def constant() -> Data:
    values, target = numbers()
    return values, np.full_like(target, 3)


def pairs() -> Data:
    """Two numbers to predict."""
    values, target = numbers()
    return values, np.stack([target, -2 * target], axis=1)


def shares() -> Data:
    """How sure it is that a row is of the second of two classes."""
    values, target = binary()
    return values, 0.1 + 0.8 * target


def labels() -> Data:
    """Two labels, each there or not."""
    values, target = binary()
    return values, np.stack([target, values[:, 0] > 15], axis=1).astype(int)


def named_classes() -> Data:
    values, target = classes()
    return values, np.array(["setosa", "versicolor", "virginica"])[target]


def codes() -> Data:
    """The first column is one of forty categories."""
    random = np.random.default_rng(0)
    values = np.column_stack([random.integers(0, 40, 500), random.random((500, 3))])
    return values, (values[:, 0] % 3 + values[:, 1] > 1).astype(int)


def coded_holes() -> Data:
    values, target = codes()
    return np.where(np.random.default_rng(1).random(values.shape) < 0.1, np.nan, values), target


def passengers() -> tuple[pd.DataFrame, np.ndarray]:
    """A table of numbers with gaps, strings and codes."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": random.integers(18, 80, 300).astype(float),
            "unused": random.random(300),
            "fare": random.random(300) * 100,
            "sex": random.choice(["m", "f"], 300),
            "city": random.choice(["Aachen", "Bonn", "Celle"], 300),
            "deck": random.integers(1, 6, 300),
        }
    )
    target = ((table.sex == "f") & (table.age > 30) | (table.deck > 4)).to_numpy().astype(int)
    table.loc[::17, "age"] = np.nan
    return table, target


def passenger_pipeline() -> Pipeline:
    table, target = passengers()
    columns = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "fare"]),
            ("c", OneHotEncoder(handle_unknown="ignore"), ["sex", "city"]),
            ("d", OrdinalEncoder(), ["deck"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(table, target)


def text_pipeline() -> Pipeline:
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, TEXT_CLASSES)


def saved(model: object, path: Path) -> Path:
    skops.io.dump(model, path)
    return path


def converted(model: Any, folder: Path, **options: Any) -> tuple[ConvertReport, Path]:
    """What ``convert`` says of ``model``, compared with it, and the file it wrote."""
    source = saved(model, folder / "model.skops")
    report = convert_file(str(source), str(folder / "m.onnx"), trust_source=True, **options)
    assert report.verification.passed
    return report, folder / "m.onnx"
