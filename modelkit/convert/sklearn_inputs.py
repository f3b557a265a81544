"""What a fitted scikit-learn model takes, from its own attributes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from modelkit.convert.sklearn_texts import lines_for, vectorizers
from modelkit.convert.tabular import Column, Table, around
from modelkit.errors import Unsupported, UsageError

_UNKNOWN = "never seen in training"
_SPREAD = 3.0


def table_of(model: Any, double: bool) -> Table:
    """The inputs of ``model``: one matrix "X", or named columns where it tells them apart.

    Raises:
        Unsupported: the columns of a ColumnTransformer are chosen in a way that is not in the file.
        UsageError: it was not fitted.
    """
    first = steps(model)[0]
    if isinstance(first, ColumnTransformer):
        return Table(tuple(_named(first)), "", double)
    count = getattr(model, "n_features_in_", getattr(first, "n_features_in_", None))
    if count is None:
        raise UsageError(
            f"{type(model).__name__} does not say how many features it takes",
            hint="fit it before it is saved",
            code="input-shape",
        )
    columns = _numbers(steps(model), int(count), _takes_missing(model))
    if get_tags(model).input_tags.positive_only:
        columns = tuple(replace(c, low=max(c.low, 0.0), high=abs(c.high)) for c in columns)
    return Table(columns, "X", double)


def steps(model: Any) -> list[Any]:
    """The parts of a pipeline in order, pipelines inside flattened; else the model alone."""
    if not isinstance(model, Pipeline):
        return [model]
    found: list[Any] = []
    for _, step in model.steps:
        if step is not None and not isinstance(step, str):
            found += steps(step)
    return found


def splits_of(model: Any, count: int) -> list[np.ndarray] | None:
    """The values at which the trees of ``model`` part the rows, by feature; None without trees."""
    parts = list(_splits(model))
    if not parts:
        return None
    features = np.concatenate([feature for feature, _ in parts])
    values = np.concatenate([value for _, value in parts])
    return [np.unique(values[features == index]) for index in range(count)]


def _splits(model: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if hasattr(model, "tree_"):
        inner = model.tree_.feature >= 0
        yield model.tree_.feature[inner], model.tree_.threshold[inner]
    for predictors in getattr(model, "_predictors", None) or ():
        for predictor in predictors:
            nodes = predictor.nodes
            inner = (nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)
            yield nodes["feature_idx"][inner].astype(int), nodes["num_threshold"][inner]
    held = getattr(model, "estimators_", None)
    for part in [] if held is None else np.ravel(np.array(held, dtype=object)):
        yield from _splits(part)


def _numbers(parts: Sequence[Any], count: int, missing: bool) -> tuple[Column, ...]:
    """Columns with the ranges that the first part with statistics saw in training."""
    for part in parts:
        splits = splits_of(part, count)
        if splits is not None:
            return around(splits, missing=missing)
        codes = [np.asarray(held) for held in getattr(part, "categories_", None) or ()]
        if len(codes) == count and all(held.dtype.kind in "fiu" for held in codes):
            coded = (_coded(f"x{i}", held, False) for i, held in enumerate(codes))
            return tuple(replace(column, dtype="float32") for column in coded)
        ranges = _ranges(part, count)
        if ranges is not None:
            low, high = ranges
            return tuple(
                Column(f"x{i}", low=float(low[i]), high=float(high[i]), missing=missing)
                for i in range(count)
            )
        if getattr(part, "n_features_out_", count) != count:
            break
    return tuple(Column(f"x{i}", missing=missing) for i in range(count))


def _ranges(part: Any, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Lowest and highest sensible value of each feature."""

    def held(name: str) -> np.ndarray | None:
        value = getattr(part, name, None)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            return None
        return value if value.shape[-1:] == (count,) else None

    low, high = held("data_min_"), held("data_max_")
    if low is not None and high is not None:
        return low, high
    for center, spread in (("mean_", "scale_"), ("center_", "scale_"), ("theta_", "var_")):
        middle, width = held(center), held(spread)
        if middle is not None and width is not None:
            width = np.sqrt(width) if spread == "var_" else width
            rows = np.atleast_2d(middle), np.atleast_2d(width)
            return (
                (rows[0] - _SPREAD * rows[1]).min(axis=0),
                (rows[0] + _SPREAD * rows[1]).max(axis=0),
            )
    for name in ("_fit_X", "X_train_", "support_vectors_", "cluster_centers_", "centroids_",
                 "means_"):  # fmt: skip
        seen = held(name)
        if seen is not None and seen.ndim == 2 and len(seen):
            return seen.min(axis=0), seen.max(axis=0)
    for name in ("statistics_", "mean_"):
        middle = held(name)
        if middle is not None:
            return middle - np.abs(middle) - 1, middle + np.abs(middle) + 1
    return None


def _takes_missing(model: Any) -> bool:
    """Whether NaN is a value: of an imputer, or of trees that learned a side for it."""
    return bool(get_tags(model).input_tags.allow_nan)


def _named(transformer: ColumnTransformer) -> Iterator[Column]:
    """The columns that a ColumnTransformer uses, in the order of the training table."""
    names = [str(n) for n in getattr(transformer, "feature_names_in_", ())]
    total = int(transformer.n_features_in_)
    names = names or [f"x{index}" for index in range(total)]
    found: dict[str, Column] = {}
    for label, part, chosen in transformer.transformers_:
        if isinstance(part, str) and part == "drop":
            continue
        picked = _chosen(chosen, names, str(label))
        for place, column in enumerate(_columns(part, picked)):
            known = found.get(picked[place])
            # A column used twice keeps what says more of it.
            if known is None or (column.values and not known.values):
                found[picked[place]] = column
    yield from (found[name] for name in names if name in found)


def _chosen(chosen: Any, names: list[str], label: str) -> list[str]:
    if isinstance(chosen, slice):
        if isinstance(chosen.start, str) or isinstance(chosen.stop, str):
            start = names.index(chosen.start) if chosen.start else 0
            stop = names.index(chosen.stop) + 1 if chosen.stop else len(names)
            return names[start:stop]
        return names[chosen]
    if isinstance(chosen, str | int | np.integer):
        chosen = [chosen]
    if callable(chosen):
        raise Unsupported(
            f"the columns of '{label}' are chosen by a function",
            hint="name them in the ColumnTransformer, fit it again and save it",
        )
    values = list(chosen)
    if values and all(isinstance(value, bool | np.bool_) for value in values):
        return [name for name, taken in zip(names, values, strict=True) if taken]
    return [value if isinstance(value, str) else names[int(value)] for value in values]


def _columns(part: Any, names: list[str]) -> list[Column]:
    """What one transformer takes."""
    parts = [] if isinstance(part, str) else steps(part)
    missing = bool(parts) and _takes_missing(parts[0])
    for step in parts:
        if texts := vectorizers(step):
            lines = tuple(line for trial in lines_for(texts) for line in trial)
            return [Column(name, "str", values=lines) for name in names]
        categories = getattr(step, "categories_", None)
        if categories is not None and len(categories) == len(names):
            open_ended = getattr(step, "handle_unknown", "error") != "error"
            return [
                _coded(name, values, open_ended)
                for name, values in zip(names, categories, strict=True)
            ]
    numbers = _numbers(parts, len(names), missing)
    return [replace(column, name=name) for column, name in zip(numbers, names, strict=True)]


def _coded(name: str, categories: np.ndarray, open_ended: bool) -> Column:
    """A column of strings or codes; NaN and None among its categories are not drawn."""
    known = [value for value in categories.tolist() if value is not None and value == value]
    if all(isinstance(value, str) for value in known):
        extra = [_UNKNOWN] if open_ended else []
        return Column(name, "str", values=(*known, *extra))
    dtype = "int64" if all(isinstance(value, int) for value in known) else "float32"
    return Column(name, dtype, float(min(known)), float(max(known)), tuple(known))
