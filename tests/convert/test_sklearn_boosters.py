from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelkit.convert.from_sklearn import source_of
from modelkit.convert.sklearn_boosters import boosted_of, booster_splits, library_of
from modelkit.convert.source import Options
from tests.convert import tables
from tests.models import run


def test_others_are_left_to_skl2onnx() -> None:
    assert library_of(LinearRegression()) == "sklearn"
    assert boosted_of(LinearRegression()) is None
    assert booster_splits(LinearRegression(), 3) is None


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_pipeline_that_ends_in_one(library: str, double: bool) -> None:
    module: Any = pytest.importorskip(library)
    kind = {"xgboost": "XGBClassifier", "lightgbm": "LGBMClassifier"}[library]
    values, target = tables.binary()
    pipeline = make_pipeline(StandardScaler(), getattr(module, kind)(n_estimators=3, verbosity=0))
    pipeline.fit(values, target)
    splits = booster_splits(pipeline.steps[-1][1], 30)
    assert splits is not None and sum(len(s) for s in splits) > 3
    (route,) = source_of(pipeline, Options(double=double)).routes
    rows = values.astype(np.float64 if double else np.float32)
    found = run(ir.to_proto(route.export()), {"X": rows})
    expected = pipeline.predict_proba(rows.astype(np.float64))
    off = np.abs(found["probabilities"] - expected).max(axis=1) > 1e-5
    assert off.mean() <= (0 if double else 0.02), "a split behind a scaler can turn in float32"
    assert found["probabilities"].dtype == rows.dtype
