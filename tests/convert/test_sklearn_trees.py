from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags

from modelkit.convert.from_sklearn import source_of
from modelkit.convert.sklearn_inputs import splits_of
from modelkit.convert.source import Options
from modelkit.convert.tabular import on_splits
from tests.convert import tables
from tests.models import run


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(
    ("model", "data"),
    [
        (RandomForestClassifier(5, random_state=0), tables.digits),
        (DecisionTreeClassifier(max_depth=6), tables.binary),
        (ExtraTreesRegressor(4, random_state=0), tables.numbers),
        (GradientBoostingRegressor(n_estimators=6), tables.numbers),
        (HistGradientBoostingRegressor(max_iter=6), tables.holes),
        (RandomForestRegressor(5, random_state=0), tables.holes),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_on_splits_and_missing_values_go_as_in_the_library(
    model: Any, data: Any, double: bool
) -> None:
    values, target = data()
    model.fit(values, target)
    splits = splits_of(model, values.shape[1])
    assert splits is not None
    rows = on_splits(splits, double)
    if get_tags(model).input_tags.allow_nan:
        rows[::7, 1] = np.nan
    (route,) = source_of(model, Options(double=double)).routes
    found = run(ir.to_proto(route.export()), {"X": rows})
    name = "probabilities" if hasattr(model, "classes_") else "prediction"
    ask = model.predict_proba if hasattr(model, "classes_") else model.predict
    expected = ask(rows.astype(np.float64)).reshape(found[name].shape)
    np.testing.assert_allclose(found[name], expected, rtol=2e-6)


def test_several_numbers_at_once() -> None:
    values, target = tables.numbers()
    model = RandomForestRegressor(4, random_state=0).fit(values, np.stack([target, -target], 1))
    (route,) = source_of(model, Options()).routes
    rows = values[:50].astype(np.float32)
    found = run(ir.to_proto(route.export()), {"X": rows})["prediction"]
    np.testing.assert_allclose(found, model.predict(rows), rtol=2e-6)
