"""LightGBM: gbdt, dart, rf and linear trees, with categories, from its text format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from modelkit.convert.boosted import ZERO, Boosted, source_of
from modelkit.convert.source import Options, Source
from modelkit.convert.trees import LEQ, LT, Forest, Tree
from modelkit.errors import BadInput, Unsupported
from modelkit.safe import safe

# Objective to its link; those of numbers that are predicted as they are stand in _PLAIN.
_LINKS = {
    "binary": "sigmoid",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "log1p-exp",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
_PLAIN = (
    "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank",
    "rank_xendcg", "custom", "",
)  # fmt: skip
_CLASSES = ("binary", "multiclass", "multiclassova")
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_NO_MISSING, _ZERO_MISSING, _NAN_MISSING = 0, 1, 2
_WORD = 32
# Lines that every whole file has.
_MARKS = (b"num_class=", b"max_feature_idx=", b"feature_names=", b"tree_sizes=", b"end of trees")


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load a text model.

    Raises:
        BadInput: LightGBM does not read the file.
        Unsupported: an objective without a form here, or zeros and NaN missing in one model.
    """
    assert path is not None
    _check_whole(path)
    try:
        booster = lightgbm.Booster(model_file=str(path))
    except (lightgbm.basic.LightGBMError, ValueError, KeyError) as error:
        raise BadInput(
            f"{safe(str(path))} could not be loaded by LightGBM",
            cause=safe(str(error), 300),
            hint="was it cut off?",
            code="unreadable",
        ) from None
    return booster_source(booster, options)


def _check_whole(path: Path) -> None:
    """Refuse a file that breaks off: LightGBM ends the whole process on one."""
    data = path.read_bytes()
    missing = [mark for mark in _MARKS if b"\n" + mark not in data]
    cause = f"it has no '{missing[0].decode()}'" if missing else ""
    if not missing:
        sizes = data.split(b"\ntree_sizes=", 1)[1].split(b"\n", 1)[0].split()
        place = data.find(b"\nTree=") + 1
        for number, size in enumerate(sizes):
            if not size.isdigit() or not data[place:].startswith(b"Tree=%d\n" % number):
                cause = f"tree {number} does not start where its tree_sizes say"
                break
            place += int(size)
    if cause:
        raise BadInput(
            f"{safe(str(path))} is no whole LightGBM model",
            cause=cause,
            hint="was it cut off, or edited?",
            code="truncated",
        )


def estimator_source(model: Any, options: Options) -> Source:
    """The source of a fitted estimator."""
    classes = tuple(np.asarray(getattr(model, "classes_", ())).tolist())
    return booster_source(model.booster_, options, classes)


def booster_source(
    booster: Any, options: Options, classes: tuple[object, ...] | None = None
) -> Source:
    """The source of a loaded booster; ``classes`` are its labels where they are known."""
    model, objective = read_booster(booster, classes)

    def predict(rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = booster.predict(rows, num_threads=options.threads or None)
        return found

    title = f"LightGBM ({safe(objective or 'no objective', 40)})"
    return source_of(title, model, predict, options)


def read_booster(booster: Any, classes: tuple[object, ...] | None = None) -> tuple[Boosted, str]:
    """What the booster computes, and the name of its objective.

    Raises:
        BadInput: a block of the text lacks a field.
        Unsupported: without a form here.
    """
    text = booster.model_to_string(num_iteration=booster.best_iteration or -1)
    blocks = text.partition("\nend of trees")[0].split("\nTree=")
    head = dict(_fields(blocks[0]))
    try:
        return _read(head, [dict(_fields(block)) for block in blocks[1:]], classes)
    except KeyError as missing:
        raise BadInput(f"the LightGBM model lacks the field {safe(str(missing))}") from None


def _read(
    head: dict[str, str], blocks: list[dict[str, str]], classes: tuple[object, ...] | None
) -> tuple[Boosted, str]:
    objective, *words = head.get("objective", "").split() or [""]
    if objective not in _LINKS and objective not in _PLAIN:
        raise Unsupported(
            f"LightGBM's objective {safe(objective, 60)} has no form here",
            hint=f"known: {', '.join([*_LINKS, *_PLAIN[:-1]])}",
        )
    features = int(head["max_feature_idx"]) + 1
    outputs = int(head["num_tree_per_iteration"])
    factor = next((float(w.partition(":")[2]) for w in words if w.startswith("sigmoid:")), 1.0)
    link = _LINKS.get(objective, "signed-square" if "sqrt" in words else "identity")
    labels: tuple[object, ...] = ()
    if objective in _CLASSES:
        labels = classes or tuple(range(max(outputs, 2)))
    slopes = any(block.get("is_linear") == "1" for block in blocks)
    zero_missing = _zero_is_missing(blocks)
    trees = [
        _tree(block, index % outputs, features, outputs, slopes)
        for index, block in enumerate(blocks)
    ]
    rounds = max(len(trees) // outputs, 1)
    if "average_output" in head:
        for tree in trees:
            tree.leaves = [(node, target, weight / rounds) for node, target, weight in tree.leaves]
    targets = outputs * (features + 1) if slopes else outputs
    model = Boosted(
        features,
        Forest(trees, targets),
        link,
        outputs,
        labels,
        factor,
        slopes=slopes,
        zero_missing=zero_missing,
    )
    return model, objective


def _fields(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        key, _, value = line.partition("=")
        yield key, value


def _zero_is_missing(blocks: list[dict[str, str]]) -> bool:
    kinds = {
        int(kind) >> 2 & 3
        for block in blocks
        for kind in block.get("decision_type", "").split()
        if not int(kind) & _CATEGORICAL
    }
    if {_ZERO_MISSING, _NAN_MISSING} <= kinds:
        raise Unsupported(
            "some splits take zeros for missing, others NaN",
            hint="train with one setting of zero_as_missing",
        )
    return _ZERO_MISSING in kinds


def _tree(block: dict[str, str], target: int, features: int, outputs: int, slopes: bool) -> Tree:
    """One block "Tree=n"; a negative child is the leaf -(n + 1)."""
    tree = Tree()
    count = int(block["num_leaves"])
    values = [float(v) for v in block["leaf_value"].split()]
    root = tree.reserve()
    leaves = [(root, 0)] if count == 1 else []
    if count > 1:
        leaves = list(_branches(block, tree, root))
    for place, leaf in leaves:
        if block.get("is_linear") == "1":
            _linear_leaf(block, tree, place, leaf, target, outputs, values[leaf])
        else:
            tree.weigh(place, [(target, values[leaf])])
    return tree


def _branches(block: dict[str, str], tree: Tree, root: int) -> Iterator[tuple[int, int]]:
    """Write the inner nodes; (place, leaf) of each leaf."""
    features = [int(v) for v in block["split_feature"].split()]
    splits = [float(v) for v in block["threshold"].split()]
    kinds = [int(v) for v in block["decision_type"].split()]
    left = [int(v) for v in block["left_child"].split()]
    right = [int(v) for v in block["right_child"].split()]
    waiting = [(0, root)]
    while waiting:
        old, new = waiting.pop()
        if old < 0:
            yield new, -old - 1
            continue
        if kinds[old] & _CATEGORICAL:
            members = _members(block, int(splits[old]))
            # Without a code for missing values, NaN is category 0.
            missing = kinds[old] >> 2 & 3 != _NAN_MISSING and 0.0 in members
            if not members:
                waiting.append((right[old], new))
                continue
            yes, no = tree.member(new, features[old], members, missing)
        else:
            missing = _missing_left(kinds[old], splits[old])
            # A value this small is read as zero, which lies above the split.
            mode = LT if splits[old] == -ZERO else LEQ
            yes, no = tree.branch(new, features[old], mode, splits[old], missing)
        waiting += [(left[old], yes), (right[old], no)]


def _missing_left(kind: int, split: float) -> bool:
    """Where NaN goes: by default, or as zero where no missing values were seen."""
    if kind >> 2 & 3 == _NO_MISSING:
        return split >= 0
    return bool(kind & _DEFAULT_LEFT)


def _members(block: dict[str, str], index: int) -> list[float]:
    """The categories of the bit set ``index``; they go left."""
    bounds = [int(v) for v in block["cat_boundaries"].split()]
    words = [int(v) for v in block["cat_threshold"].split()][bounds[index] : bounds[index + 1]]
    return [
        float(place * _WORD + bit)
        for place, word in enumerate(words)
        for bit in range(_WORD)
        if word >> bit & 1
    ]


def _linear_leaf(
    block: dict[str, str],
    tree: Tree,
    place: int,
    leaf: int,
    target: int,
    outputs: int,
    constant: float,
) -> None:
    """A leaf that is a linear function; its plain value where one of its features is missing."""
    counts = [int(v) for v in block["num_features"].split()]
    start = sum(counts[:leaf])
    chosen = [int(v) for v in block["leaf_features"].split()][start : start + counts[leaf]]
    slopes = [float(v) for v in block["leaf_coeff"].split()][start : start + counts[leaf]]
    for feature in chosen:
        place, missing = tree.branch(place, feature, LEQ, np.inf, False)
        tree.weigh(missing, [(target, constant)])
    weights = [(target, float(block["leaf_const"].split()[leaf]))]
    weights += [
        ((feature + 1) * outputs + target, slope)
        for feature, slope in zip(chosen, slopes, strict=True)
    ]
    tree.weigh(place, weights)
