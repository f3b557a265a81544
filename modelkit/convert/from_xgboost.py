"""XGBoost: trees, dart, random forests, linear boosters and several targets, from its own JSON.

The fields are those of XGBoost's published model schema.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from modelkit.convert.boosted import Boosted, refuse_double, source_of
from modelkit.convert.source import Options, Source
from modelkit.convert.trees import LT, Forest, Tree
from modelkit.errors import BadInput, Unsupported
from modelkit.safe import safe

# Objective to its link and how its base score is kept: as it is, as odds or as a logarithm.
_OBJECTIVES = {
    "binary:logistic": ("sigmoid", "logit"),
    "reg:logistic": ("sigmoid", "logit"),
    "binary:logitraw": ("identity", "plain"),
    "binary:hinge": ("above-zero", "plain"),
    "multi:softprob": ("softmax", "plain"),
    "multi:softmax": ("softmax", "plain"),
    "count:poisson": ("exp", "log"),
    "reg:gamma": ("exp", "log"),
    "reg:tweedie": ("exp", "log"),
    "survival:cox": ("exp", "log"),
    "survival:aft": ("exp", "log"),
    "reg:squarederror": ("identity", "plain"),
    "reg:linear": ("identity", "plain"),
    "reg:squaredlogerror": ("identity", "plain"),
    "reg:pseudohubererror": ("identity", "plain"),
    "reg:absoluteerror": ("identity", "plain"),
    "reg:quantileerror": ("identity", "plain"),
    "rank:pairwise": ("identity", "plain"),
    "rank:ndcg": ("identity", "plain"),
    "rank:map": ("identity", "plain"),
}
_CLASSES = ("binary:logistic", "multi:softprob", "multi:softmax")


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load a booster from JSON or UBJSON.

    Raises:
        BadInput: XGBoost does not read the file.
        Unsupported: an objective or kind of booster without a form here; the reason is given.
    """
    assert path is not None
    booster = xgboost.Booster()
    try:
        booster.load_model(str(path))
        booster.save_raw("json")  # some values are only checked now
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        lines = str(error).strip().splitlines() or [repr(error)]
        raise BadInput(
            f"{safe(str(path))} could not be loaded by XGBoost",
            cause=safe(lines[-1] if len(lines) < 3 else lines[0], 300),
            hint="was it cut off, or written by a newer version?",
            code="unreadable",
        ) from None
    return booster_source(booster, options)


def best_rounds(booster: Any) -> Any:
    """The part of a booster that XGBoost's estimators predict with after early stopping."""
    best = booster.attr("best_iteration")
    return booster if best is None else booster[: int(best) + 1]


def estimator_source(model: Any, options: Options) -> Source:
    """The source of a fitted estimator."""
    classes = tuple(np.asarray(getattr(model, "classes_", ())).tolist())
    return booster_source(best_rounds(model.get_booster()), options, classes)


def booster_source(
    booster: Any, options: Options, classes: tuple[object, ...] | None = None
) -> Source:
    """The source of a loaded booster; ``classes`` are its labels where they are known."""
    refuse_double("XGBoost", options)
    model, objective = read_booster(booster, classes)
    if options.threads:
        booster.set_param({"nthread": options.threads})
    notes = []
    best = booster.attr("best_iteration")
    rounds = booster.num_boosted_rounds()
    if best is not None and int(best) + 1 < rounds:
        notes.append(
            f"all {rounds} rounds are converted; training was best after {int(best) + 1}:"
            " save booster[:best] to have those"
        )
    title = f"XGBoost ({safe(objective, 40)})"
    return source_of(title, model, predictor(booster, objective), options, notes)


def predictor(booster: Any, objective: str) -> Callable[[np.ndarray], np.ndarray]:
    """XGBoost's own predictions for a matrix."""

    def predict(rows: np.ndarray) -> np.ndarray:
        data = xgboost.DMatrix(
            rows.astype(np.float32),
            feature_names=booster.feature_names,
            feature_types=booster.feature_types,
            enable_categorical=True,
        )
        if objective != "multi:softmax":
            found: np.ndarray = booster.predict(data)
            return found
        # It predicts labels; the probabilities are those of softprob.
        margin = booster.predict(data, output_margin=True).astype(np.float64)
        powers = np.exp(margin - margin.max(axis=1, keepdims=True))
        shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return shares

    return predict


def read_booster(booster: Any, known: tuple[object, ...] | None = None) -> tuple[Boosted, str]:
    """What the booster computes, and the name of its objective.

    Raises:
        Unsupported: without a form here.
    """
    learner = json.loads(booster.save_raw("json"))["learner"]
    objective = str(learner["objective"]["name"])
    if objective not in _OBJECTIVES:
        raise Unsupported(
            f"XGBoost's objective {safe(objective, 60)} has no form here",
            hint=f"known: {', '.join(_OBJECTIVES)}",
        )
    link, base_kind = _OBJECTIVES[objective]
    sizes = learner["learner_model_param"]
    features = int(sizes["num_feature"])
    classes = int(sizes["num_class"])
    outputs = max(classes, int(sizes.get("num_target", 1)), 1)
    base = _base(sizes["base_score"], base_kind, outputs)
    labels: tuple[object, ...] = ()
    if objective in _CLASSES and (classes > 1 or outputs == 1):
        labels = known or tuple(range(max(classes, 2)))
    gradient = learner["gradient_booster"]
    if gradient["name"] == "gblinear":
        weights = np.array(gradient["model"]["weights"], np.float64).reshape(-1, outputs)
        # XGBoost adds the base of the first output to all of them here.
        weights[-1] += base[0]
        forest = Forest([])
        return Boosted(features, forest, link, outputs, labels, weights=weights), objective
    drops = gradient.get("weight_drop")
    held = gradient.get("gbtree", gradient)["model"]
    scales = drops if drops is not None else [1.0] * len(held["trees"])
    trees = [
        _tree(tree, int(target), float(scale))
        for tree, target, scale in zip(held["trees"], held["tree_info"], scales, strict=True)
    ]
    forest = Forest(trees, outputs, base=tuple(base))
    return Boosted(features, forest, link, outputs, labels), objective


def _base(text: str, kind: str, outputs: int) -> list[float]:
    """The sum a row starts with; XGBoost keeps it on the scale of its predictions."""
    values = [float(part) for part in str(text).strip("[]").split(",")]
    values = values * outputs if len(values) == 1 else values
    if kind == "logit":
        return [math.log(value / (1 - value)) for value in values]
    return [math.log(value) for value in values] if kind == "log" else values


def _tree(held: dict[str, Any], target: int, scale: float) -> Tree:
    width = int(held["tree_param"].get("size_leaf_vector", 1) or 1)
    if width > 1 and "leaf_weights" not in held:
        raise Unsupported(
            "leaves of several numbers are kept another way by this version of XGBoost",
            hint="train with multi_strategy=one_output_per_tree, or with XGBoost 3",
        )
    sets = _category_sets(held)
    left, right = held["left_children"], held["right_children"]
    tree = Tree()
    waiting = [(0, tree.reserve())]
    while waiting:
        old, new = waiting.pop()
        if left[old] == -1:
            tree.weigh(new, _weights(held, old, target, width, scale))
            continue
        feature, to_left = int(held["split_indices"][old]), bool(held["default_left"][old])
        if old in sets:
            # The categories named go right.
            yes, no = tree.member(new, feature, sets[old], not to_left)
            waiting += [(right[old], yes), (left[old], no)]
        else:
            split = float(np.float32(held["split_conditions"][old]))
            yes, no = tree.branch(new, feature, LT, split, to_left)
            waiting += [(left[old], yes), (right[old], no)]
    return tree


def _weights(
    held: dict[str, Any], node: int, target: int, width: int, scale: float
) -> list[tuple[int, float]]:
    if width == 1:
        return [(target, float(held["split_conditions"][node]) * scale)]
    start = int(held["right_children"][node]) * width
    return [(t, float(held["leaf_weights"][start + t]) * scale) for t in range(width)]


def _category_sets(held: dict[str, Any]) -> dict[int, list[float]]:
    """Node to the categories that its test names."""
    found = {}
    for node, start, size in zip(
        held.get("categories_nodes", ()),
        held.get("categories_segments", ()),
        held.get("categories_sizes", ()),
        strict=True,
    ):
        found[int(node)] = [float(c) for c in held["categories"][start : start + size]]
    return found
