import numpy as np
import onnx_ir as ir
import pytest

from modelkit.convert.draft import Draft
from modelkit.convert.trees import (
    LEQ,
    LT,
    Forest,
    Tree,
    categories_of,
    splits_of,
    write_forest,
)
from tests.models import run


def scores(forest: Forest, rows: np.ndarray) -> np.ndarray:
    draft = Draft()
    double = rows.dtype == np.float64
    x = draft.input("x", rows.dtype.name, ["batch", rows.shape[1]])
    raw = write_forest(draft, x, forest, double=double)
    draft.output(raw, "y", rows.dtype.name, ["batch", forest.targets])
    return run(ir.to_proto(draft.model("test")), {"x": rows})["y"]


def stump(mode: str, split: float, missing_yes: bool = False) -> Tree:
    """1 where the test holds, 2 where not."""
    tree = Tree()
    yes, no = tree.branch(tree.reserve(), 0, mode, split, missing_yes)
    tree.weigh(yes, [(0, 1.0)])
    tree.weigh(no, [(0, 2.0)])
    return tree


@pytest.mark.parametrize("mode", [LEQ, LT])
@pytest.mark.parametrize("split", [0.1, 0.3, 1 / 3, -0.1, 0.5, 1e30, np.nextafter(0.5, 1), 1e-46])
def test_no_float32_value_changes_its_branch(mode: str, split: float) -> None:
    near = np.float32(split)
    values = np.array(
        [near, np.nextafter(near, np.float32(9e30)), np.nextafter(near, np.float32(-9e30)), 0, 1],
        np.float32,
    )
    exact = values.astype(np.float64)
    expected = np.where(exact <= split if mode == LEQ else exact < split, 1, 2)
    found = scores(Forest([stump(mode, split)]), values.reshape(-1, 1))
    assert found.ravel().tolist() == expected.tolist()
    wide = np.array([split, np.nextafter(split, 9e30), np.nextafter(split, -9e30)])
    expected = np.where(wide <= split if mode == LEQ else wide < split, 1, 2)
    found = scores(Forest([stump(mode, split)]), wide.reshape(-1, 1))
    assert found.ravel().tolist() == expected.tolist()


def test_missing_values_go_where_they_were_sent() -> None:
    rows = np.array([[np.nan]], np.float32)
    assert scores(Forest([stump(LEQ, 0.5, missing_yes=True)]), rows) == 1
    assert scores(Forest([stump(LEQ, 0.5)]), rows) == 2


@pytest.mark.parametrize("values", [[3.0], [0.0, 2.0, 5.0], [*map(float, range(0, 90, 7))]])
@pytest.mark.parametrize("missing", [False, True])
def test_membership_is_a_chain_with_one_child(values: list[float], missing: bool) -> None:
    tree = Tree()
    yes, no = tree.member(tree.reserve(), 0, values, missing)
    inner, outer = tree.branch(yes, 1, LEQ, 0.0, False)
    tree.weigh(inner, [(0, 1.0)])
    tree.weigh(outer, [(0, 4.0)])
    tree.weigh(no, [(0, 2.0)])
    codes = np.array([*range(-1, 95), np.nan], np.float32)
    rows = np.stack([codes, np.where(codes % 2 == 0, -1, 1)], axis=1).astype(np.float32)
    member = np.isin(codes, values) | (np.isnan(codes) & missing)
    expected = np.where(member, np.where(rows[:, 1] <= 0, 1, 4), 2)
    assert scores(Forest([tree]), rows).ravel().tolist() == expected.tolist()
    assert categories_of(Forest([tree])) == {0: values}


def test_averages_bases_and_single_leaves() -> None:
    lone = Tree()
    lone.weigh(lone.reserve(), [(0, 10.0), (1, 20.0)])
    rows = np.array([[0.0], [1.0]], np.float32)
    forest = Forest([stump(LEQ, 0.5), lone], targets=2, average=True)
    assert scores(forest, rows).tolist() == [[5.5, 10], [6, 10]]
    forest = Forest([stump(LEQ, 0.5), lone], targets=2, base=(100.0, 200.0))
    assert scores(forest, rows.astype(np.float64)).tolist() == [[111, 220], [112, 220]]


def test_splits_by_feature() -> None:
    tree = Tree()
    yes, no = tree.branch(tree.reserve(), 1, LEQ, 0.5, False)
    tree.weigh(no, [(0, 1.0)])
    for node in tree.branch(yes, 1, LT, -2.0, False):
        tree.weigh(node, [(0, 1.0)])
    assert [found.tolist() for found in splits_of(Forest([tree]), 3)] == [[], [-2.0, 0.5], []]
