import numpy as np
import pytest

from modelkit.convert.tabular import Column, Table, around, on_splits


def test_a_matrix_covers_its_ranges_and_gaps() -> None:
    columns = (Column("a", low=5, high=6), Column("b", low=-1, high=1, missing=True))
    table = Table(columns, "X")
    (spec,) = table.specs()
    assert (spec.name, spec.dtype, spec.shape) == ("X", "float32", ("batch", 2))
    one, few, many = (trial["X"] for trial in table.trials())
    assert (len(one), len(few), len(many)) == (1, 61, 400)
    assert many.dtype == np.float32
    assert 5 <= many[:, 0].min() < 5.1 < 5.9 < many[:, 0].max() <= 6
    assert 0 < np.isnan(many[:, 1]).mean() < 0.3
    assert not np.isnan(one).any()
    np.testing.assert_array_equal(many, table.trials()[2]["X"])


def test_columns_keep_their_kinds() -> None:
    columns = (
        Column("n"),
        Column("s", "str", values=("x", "y")),
        Column("c", "int64", 1, 3, (1, 3)),
    )
    table = Table(columns, double=True)
    assert [(s.name, s.dtype, s.shape) for s in table.specs()] == [
        ("n", "float64", ("batch", 1)),
        ("s", "str", ("batch", 1)),
        ("c", "int64", ("batch", 1)),
    ]
    rows = table.trials()[1]
    assert rows["n"].dtype == np.float64
    assert set(rows["s"].ravel()) == {"x", "y"}
    assert set(rows["c"].ravel()) == {1, 3}


def test_ranges_around_splits() -> None:
    first, second = around([np.array([1.0, 3.0]), np.array([])], missing=True)
    assert (first.low, first.high) == (0.5, 3.5)
    assert first.missing
    assert (second.low, second.high) == (-2, 2)


@pytest.mark.parametrize("double", [False, True])
def test_rows_lie_on_and_beside_splits(double: bool) -> None:
    rows = on_splits([np.array([0.1]), np.array([])], double)
    kind = np.float64 if double else np.float32
    near = kind(0.1)
    wanted = {near, np.nextafter(near, kind(1)), np.nextafter(near, kind(0))}
    assert set(rows[:, 0]) == wanted
    assert not rows[:, 1].any()
