"""Ensembles of decision trees as one ONNX-ML node, exact at every split.

A framework compares in float64 (or float32) and ONNX Runtime in the type of the input.  For
float32 inputs the splits are rounded to the side on which no float32 value changes its branch:
x <= t holds for the same values as x <= the largest float32 that is not above t.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelkit.convert.draft import ML, Nodes

LEQ, LT, EQ = "BRANCH_LEQ", "BRANCH_LT", "BRANCH_EQ"
_LEAF = "LEAF"


@dataclass
class Tree:
    """Nodes of one tree as columns; the first is the root.

    ``leaves`` are (node, target, weight); a leaf may have several.
    """

    feature: list[int] = field(default_factory=list)
    split: list[float] = field(default_factory=list)
    mode: list[str] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    missing_yes: list[bool] = field(default_factory=list)
    leaves: list[tuple[int, int, float]] = field(default_factory=list)

    def reserve(self) -> int:
        """A node to be filled in later; a leaf until then."""
        self.feature.append(0)
        self.split.append(0.0)
        self.mode.append(_LEAF)
        self.yes.append(0)
        self.no.append(0)
        self.missing_yes.append(False)
        return len(self.feature) - 1

    def branch(
        self, node: int, feature: int, mode: str, split: float, missing_yes: bool
    ) -> tuple[int, int]:
        """Make ``node`` a branch; its children (where the test holds, where not) are reserved."""
        yes, no = self.reserve(), self.reserve()
        self.link(node, feature, mode, split, missing_yes, yes, no)
        return yes, no

    def link(
        self, node: int, feature: int, mode: str, split: float, missing: bool, yes: int, no: int
    ) -> None:
        """Make ``node`` a branch to nodes that exist."""
        self.feature[node], self.mode[node], self.split[node] = feature, mode, split
        self.missing_yes[node], self.yes[node], self.no[node] = missing, yes, no

    def member(
        self, node: int, feature: int, values: Sequence[float], missing_yes: bool
    ) -> tuple[int, int]:
        """Make ``node`` a test for membership: a chain of equalities with one common child."""
        yes = self.reserve()
        for value in values[:-1]:
            following = self.reserve()
            self.link(node, feature, EQ, value, missing_yes, yes, following)
            node = following
        no = self.reserve()
        self.link(node, feature, EQ, values[-1], missing_yes, yes, no)
        return yes, no

    def weigh(self, node: int, weights: Sequence[tuple[int, float]]) -> None:
        """Make ``node`` a leaf that adds (target, weight)s."""
        self.leaves += [(node, target, weight) for target, weight in weights]


@dataclass
class Forest:
    """Trees whose leaves are added, or averaged, into ``targets`` sums, then ``base`` is added."""

    trees: list[Tree]
    targets: int = 1
    average: bool = False
    base: tuple[float, ...] = ()


def splits_of(forest: Forest, features: int) -> list[np.ndarray]:
    """The values at which rows are parted, by feature."""
    found: list[set[float]] = [set() for _ in range(features)]
    for tree in forest.trees:
        for feature, split, mode in zip(tree.feature, tree.split, tree.mode, strict=True):
            if mode != _LEAF:
                found[feature].add(split)
    return [np.array(sorted(values)) for values in found]


def categories_of(forest: Forest) -> dict[int, list[float]]:
    """The codes that features are tested for equality with."""
    found: dict[int, set[float]] = {}
    for tree in forest.trees:
        for feature, split, mode in zip(tree.feature, tree.split, tree.mode, strict=True):
            if mode == EQ:
                found.setdefault(feature, set()).add(split)
    return {feature: sorted(values) for feature, values in found.items()}


def write_forest(nodes: Nodes, x: str, forest: Forest, *, double: bool = False) -> str:
    """Add the ensemble on ``x`` [batch, features]; the result is [batch, targets].

    ``x`` is float64 where ``double``, and so is the result; else both are float32.
    """
    attributes = _attributes(forest, double)
    scores = nodes.add("TreeEnsembleRegressor", x, domain=ML, **attributes)
    return nodes.add("Cast", scores, to=11) if double else scores


def _attributes(forest: Forest, double: bool) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {
        "nodes_treeids": [], "nodes_nodeids": [], "nodes_featureids": [], "nodes_modes": [],
        "nodes_truenodeids": [], "nodes_falsenodeids": [], "nodes_missing_value_tracks_true": [],
        "target_treeids": [], "target_nodeids": [], "target_ids": [],
    }  # fmt: skip
    splits: list[np.ndarray] = []
    weights: list[float] = []
    for number, tree in enumerate(forest.trees):
        count = len(tree.feature)
        columns["nodes_treeids"] += [number] * count
        columns["nodes_nodeids"] += range(count)
        columns["nodes_featureids"] += tree.feature
        columns["nodes_modes"] += tree.mode
        columns["nodes_truenodeids"] += tree.yes
        columns["nodes_falsenodeids"] += tree.no
        columns["nodes_missing_value_tracks_true"] += map(int, tree.missing_yes)
        splits.append(np.array(tree.split) if double else _single(tree))
        for node, target, weight in tree.leaves:
            columns["target_treeids"].append(number)
            columns["target_nodeids"].append(node)
            columns["target_ids"].append(target)
            weights.append(weight)
    kept: dict[str, Any] = {
        **columns,
        "n_targets": forest.targets,
        "aggregate_function": "AVERAGE" if forest.average else "SUM",
    }
    kind = np.float64 if double else np.float32
    numbers = {"nodes_values": np.concatenate(splits), "target_weights": np.array(weights)}
    if forest.base:
        numbers["base_values"] = np.array(forest.base)
    for name, array in numbers.items():
        if double:
            kept[f"{name}_as_tensor"] = array.astype(kind)
        else:
            kept[name] = [float(value) for value in array.astype(kind)]
    return kept


def _single(tree: Tree) -> np.ndarray:
    """The splits as float32 that send every float32 value the way the exact ones do."""
    exact = np.array(tree.split, dtype=np.float64)
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
    mode = np.array(tree.mode)
    above, below = near.astype(np.float64) > exact, near.astype(np.float64) < exact
    down = np.nextafter(near, np.float32(-np.inf))
    up = np.nextafter(near, np.float32(np.inf))
    near = np.where((mode == LEQ) & above, down, near)
    return np.where((mode == LT) & below, up, near)
