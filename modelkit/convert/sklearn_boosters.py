"""Estimators of XGBoost and LightGBM inside scikit-learn pipelines, written by our own readers."""

from typing import Any

import numpy as np
import skl2onnx
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.data_types import guess_proto_type as proto_type
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

from modelkit.convert.boosted import Boosted, write
from modelkit.convert.sklearn_trees import Container
from modelkit.convert.trees import splits_of

_OPTIONS = {"nocl": [True, False], "zipmap": [True, False, "columns"], "raw_scores": [False]}


def library_of(model: Any) -> str:
    """The package that the class of ``model`` comes from."""
    return type(model).__module__.split(".")[0]


def boosted_of(model: Any) -> Boosted | None:
    """What an estimator of XGBoost or LightGBM computes; None for others.

    Raises:
        Unsupported: it has no form here.
    """
    classes = tuple(np.asarray(getattr(model, "classes_", ())).tolist())
    if library_of(model) == "xgboost":
        from modelkit.convert.from_xgboost import best_rounds, read_booster

        return read_booster(best_rounds(model.get_booster()), classes)[0]
    if library_of(model) == "lightgbm":
        from modelkit.convert.from_lightgbm import read_booster as read_text

        return read_text(model.booster_, classes)[0]
    return None


def booster_splits(model: Any, count: int) -> list[np.ndarray] | None:
    """The splits of an estimator of XGBoost or LightGBM, by feature."""
    found = boosted_of(model) if library_of(model) in ("xgboost", "lightgbm") else None
    return splits_of(found.forest, count) if found and found.features == count else None


def use_own_boosters(parts: list[Any]) -> None:
    """Let skl2onnx call our writer for those of ``parts`` that are of these libraries."""
    for part in parts:
        if library_of(part) not in ("xgboost", "lightgbm"):
            continue
        classifier = hasattr(part, "classes_")
        shapes = (
            calculate_linear_classifier_output_shapes
            if classifier
            else calculate_linear_regressor_output_shapes
        )
        kind = type(part)
        skl2onnx.update_registered_converter(
            kind,
            f"Modelkit{kind.__name__}",
            shapes,
            _write,
            options=_OPTIONS if classifier else None,
        )


def _write(scope: Any, operator: Any, container: Any) -> None:
    nodes = Container(scope, container)
    given = operator.inputs[0]
    double = isinstance(given.type, DoubleTensorType)
    x = given.full_name
    exact = double and library_of(operator.raw_operator) == "lightgbm"
    if not exact and (double or proto_type(given.type) != 1):
        x = nodes.add("Cast", x, to=1)
    model = boosted_of(operator.raw_operator)
    assert model is not None
    values = list(write(nodes, x, model, double=exact).values())
    outputs = [output.full_name for output in operator.outputs]
    if double and not exact:
        values[-1] = nodes.add("Cast", values[-1], to=11)
    for value, output in zip(values, outputs, strict=True):
        nodes.emit("Identity", [value], output, "", {})
    if double:
        operator.outputs[-1].set_type(DoubleTensorType(operator.outputs[-1].type.shape))
