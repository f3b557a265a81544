import numpy as np
import onnx_ir as ir
import pytest

from modelkit.convert.boosted import Boosted, drafted, named, refuse_double, source_of, table_of
from modelkit.convert.source import Options
from modelkit.convert.trees import LEQ, Forest, Tree
from modelkit.errors import UsageError
from tests.models import run


def forest(split: float = 0.5) -> Forest:
    """-1 up to the split, 2 above it."""
    tree = Tree()
    yes, no = tree.branch(tree.reserve(), 0, LEQ, split, True)
    tree.weigh(yes, [(0, -1.0)])
    tree.weigh(no, [(0, 2.0)])
    return Forest([tree])


def outputs(
    model: Boosted, rows: list[list[float]], *, double: bool = False
) -> dict[str, np.ndarray]:
    kind = np.float64 if double else np.float32
    proto = ir.to_proto(drafted(model, double=double))
    return run(proto, {"X": np.array(rows, kind)})


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("identity", lambda raw: raw),
        ("exp", np.exp),
        ("sigmoid", lambda raw: 1 / (1 + np.exp(-raw))),
        ("log1p-exp", lambda raw: np.log1p(np.exp(raw))),
        ("signed-square", lambda raw: raw * np.abs(raw)),
        ("above-zero", lambda raw: (raw > 0).astype(float)),
    ],
)
@pytest.mark.parametrize("double", [False, True])
def test_links(link: str, expected: object, double: bool) -> None:
    assert callable(expected)
    found = outputs(Boosted(1, forest(), link), [[0.0], [1.0]], double=double)["prediction"]
    assert found.dtype == (np.float64 if double else np.float32)
    np.testing.assert_allclose(found, expected(np.array([[-1.0], [2.0]])), rtol=1e-6)


def test_two_classes_and_their_labels() -> None:
    model = Boosted(1, forest(), "sigmoid", classes=("no", "yes"))
    found = outputs(model, [[0.0], [1.0]])
    assert found["label"].tolist() == ["no", "yes"]
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-6)
    own = named(model, np.array([0.2, 0.9]), "float32")
    assert own["label"].tolist() == ["no", "yes"]
    np.testing.assert_allclose(own["probabilities"], [[0.8, 0.2], [0.1, 0.9]], rtol=1e-6)


def test_a_linear_booster_skips_missing_values() -> None:
    weights = np.array([[2.0, 0.0], [0.0, 3.0], [10.0, 20.0]])
    model = Boosted(2, Forest([]), outputs=2, weights=weights)
    found = outputs(model, [[1.0, 1.0], [np.nan, 2.0]])["prediction"]
    assert found.tolist() == [[12, 23], [10, 26]]


def test_leaves_with_slopes() -> None:
    tree = Tree()
    whole, missing = tree.branch(tree.reserve(), 1, LEQ, np.inf, False)
    tree.weigh(missing, [(0, 7.0)])
    tree.weigh(whole, [(0, 1.0), (2, 10.0)])
    model = Boosted(2, Forest([tree], 3), slopes=True)
    found = outputs(model, [[5.0, 2.0], [5.0, np.nan], [np.nan, 0.5]])["prediction"]
    assert found.ravel().tolist() == [21, 7, 6]


def test_zero_can_be_missing() -> None:
    tree = Tree()
    yes, no = tree.branch(tree.reserve(), 0, LEQ, 0.5, False)
    tree.weigh(yes, [(0, 1.0)])
    tree.weigh(no, [(0, 2.0)])
    model = Boosted(1, Forest([tree]), zero_missing=True)
    found = outputs(model, [[0.0], [-1.0], [np.nan], [1e-36]])["prediction"]
    assert found.ravel().tolist() == [2, 1, 2, 2]


def test_the_source_asks_the_library_on_splits_and_between() -> None:
    model = Boosted(1, forest(0.1))
    asked: list[np.ndarray] = []

    def predict(rows: np.ndarray) -> np.ndarray:
        asked.append(rows)
        found: np.ndarray = np.where(rows[:, 0] > 0.1, 2.0, -1.0)
        return found

    source = source_of("test", model, predict, Options())
    assert source.reference is not None
    for feeds in source.trials:
        expected = source.reference(feeds)["prediction"]
        found = outputs(model, feeds["X"].tolist())["prediction"]
        present = ~np.isnan(feeds["X"])
        np.testing.assert_array_equal(found[present], expected[present])
    edges = source.trials[-1]["X"]
    assert np.float32(0.1) in edges and len(np.unique(edges)) == 3
    assert asked[0].dtype == np.float64


def test_categories_are_codes() -> None:
    tree = Tree()
    yes, no = tree.member(tree.reserve(), 0, [1.0, 4.0], False)
    tree.weigh(yes, [(0, 1.0)])
    tree.weigh(no, [(0, 2.0)])
    (column,) = table_of(Boosted(1, Forest([tree])), False).columns
    assert column.values == (1.0, 4.0, 5.0)


def test_a_library_without_float64() -> None:
    refuse_double("It", Options())
    with pytest.raises(UsageError, match="computes in float32"):
        refuse_double("It", Options(double=True))
