import numpy as np
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from modelkit.convert.sklearn_inputs import splits_of, steps, table_of
from modelkit.errors import UsageError
from tests.convert import tables


def test_ranges_come_from_the_first_step_that_has_any() -> None:
    values, target = tables.binary()
    scaled = make_pipeline(MinMaxScaler(), LinearRegression()).fit(values, target)
    table = table_of(scaled, False)
    assert table.name == "X"
    assert [c.low for c in table.columns] == values.min(axis=0).tolist()
    standard = make_pipeline(StandardScaler(), LinearRegression()).fit(values, target)
    column = table_of(standard, False).columns[3]
    mean, spread = values[:, 3].mean(), values[:, 3].std()
    assert column.low == pytest.approx(mean - 3 * spread)
    assert not column.missing


def test_trees_say_their_splits_and_take_gaps() -> None:
    values, target = tables.holes()
    model = HistGradientBoostingRegressor(max_iter=3).fit(values, target)
    splits = splits_of(model, 10)
    assert splits is not None and sum(len(s) for s in splits) > 20
    assert all(column.missing for column in table_of(model, False).columns)
    forest = RandomForestClassifier(2, random_state=0).fit(*tables.classes())
    found = splits_of(forest, 4)
    assert found is not None and 0.1 < found[3].min() < found[3].max() < 2.5
    assert splits_of(LinearRegression(), 4) is None


def test_columns_are_told_apart() -> None:
    table = table_of(tables.passenger_pipeline(), False)
    kinds = {c.name: c.dtype for c in table.columns}
    assert kinds == {
        "age": "float32",
        "fare": "float32",
        "sex": "str",
        "city": "str",
        "deck": "int64",
    }
    held = {c.name: c for c in table.columns}
    assert held["age"].missing and not held["fare"].values
    assert "never seen in training" in held["city"].values
    assert held["deck"].values == (1, 2, 3, 4, 5)


def test_columns_by_place_and_by_type() -> None:
    data, target = tables.passengers()
    chosen = ColumnTransformer(
        [
            ("s", OneHotEncoder(), make_column_selector(dtype_include="str")),
            ("n", "passthrough", slice("unused", "fare")),
        ]
    )
    model = make_pipeline(chosen, LinearRegression()).fit(data, target)
    assert [c.name for c in table_of(model, False).columns] == ["unused", "fare", "sex", "city"]
    matrix = np.array([["a", 1.0], ["b", 2.0]], dtype=object)
    placed = ColumnTransformer([("s", OneHotEncoder(), [0]), ("n", "passthrough", [1])]).fit(matrix)
    assert [(c.name, c.dtype) for c in table_of(placed, False).columns] == [
        ("x0", "str"),
        ("x1", "float32"),
    ]


def test_steps() -> None:
    nested = make_pipeline(make_pipeline(MinMaxScaler(), "passthrough"), StandardScaler())
    assert [type(s).__name__ for s in steps(nested)] == ["MinMaxScaler", "StandardScaler"]
    with pytest.raises(UsageError, match="does not say how many features"):
        table_of(LinearRegression(), False)
