"""CatBoost: symmetric and other trees on numbers, from its JSON form."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import catboost
import numpy as np

from modelkit.convert.boosted import Boosted, refuse_double, source_of
from modelkit.convert.source import Options, Source
from modelkit.convert.trees import LEQ, Forest, Tree
from modelkit.errors import BadInput, Unsupported
from modelkit.safe import safe

# Loss to its link and the kind of prediction that CatBoost gives for it.
_LOSSES = {
    "Logloss": ("sigmoid", "Probability"),
    "CrossEntropy": ("sigmoid", "Probability"),
    "MultiClass": ("softmax", "Probability"),
    "MultiClassOneVsAll": ("sigmoid", "Probability"),
    "MultiLogloss": ("sigmoid", "Probability"),
    "MultiCrossEntropy": ("sigmoid", "Probability"),
    "Poisson": ("exp", "Exponent"),
    "Tweedie": ("exp", "Exponent"),
}
# Losses of one class out of several; the others with probabilities have many labels at once.
_CLASSES = ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll")
_NUMBERS = (
    "RMSE", "MAE", "Quantile", "MultiQuantile", "MAPE", "Huber", "LogCosh", "Expectile", "Lq",
    "MultiRMSE", "QueryRMSE", "YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise",
    "QuerySoftMax", "StochasticRank", "LambdaMart", "SurvivalAft", "Cox",
)  # fmt: skip


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load a .cbm or JSON model.

    Raises:
        BadInput: CatBoost does not read the file.
        Unsupported: categories, texts or embeddings among the features, or an unknown loss.
    """
    assert path is not None
    model = catboost.CatBoost()
    with path.open("rb") as file:
        form = "cbm" if file.read(4) == b"CBM1" else "json"
    try:
        model.load_model(str(path), format=form)
    except (catboost.CatBoostError, ValueError) as error:
        raise BadInput(
            f"{safe(str(path))} could not be loaded by CatBoost",
            cause=safe(" ".join(str(error).split()), 300),
            hint="was it cut off?",
            code="unreadable",
        ) from None
    return estimator_source(model, options)


def estimator_source(model: Any, options: Options) -> Source:
    """The source of a loaded model."""
    refuse_double("CatBoost", options)
    boosted, loss = read_model(model)
    kind = _LOSSES.get(loss, ("", "RawFormulaVal"))[1]

    def predict(rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = model.predict(
            rows.astype(np.float32), prediction_type=kind, thread_count=options.threads or -1
        )
        return found

    return source_of(f"CatBoost ({safe(loss, 40)})", boosted, predict, options)


def read_model(model: Any) -> tuple[Boosted, str]:
    """What the model computes, and its loss.

    Raises:
        Unsupported: without a form here; the reason is given.
    """
    with TemporaryDirectory(prefix="modelkit-") as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        held = json.loads(path.read_text(encoding="utf-8"))
    _refuse_kinds(held["features_info"])
    information = held["model_info"]
    loss = str(information["params"]["loss_function"]["type"])
    if loss not in _LOSSES and loss not in _NUMBERS:
        raise Unsupported(
            f"CatBoost's loss {safe(loss, 60)} has no form here",
            hint=f"known: {', '.join([*_LOSSES, *_NUMBERS])}",
        )
    floats = held["features_info"]["float_features"]
    places = {f["feature_index"]: f["flat_feature_index"] for f in floats}
    high = {f["feature_index"]: f["nan_value_treatment"] == "AsTrue" for f in floats}
    scale, base = held["scale_and_bias"]
    outputs = len(base)
    write = _symmetric if "oblivious_trees" in held else _other
    trees = [
        write(tree, places, high, outputs, float(scale))
        for tree in held.get("oblivious_trees", held.get("trees", ()))
    ]
    classes: tuple[object, ...] = ()
    if loss in _CLASSES:
        classes = _classes(information.get("class_params", {}), outputs)
    forest = Forest(trees, outputs, base=tuple(float(v) for v in base))
    link = _LOSSES.get(loss, ("identity", ""))[0]
    return Boosted(max(places.values()) + 1, forest, link, outputs, classes), loss


def _refuse_kinds(information: dict[str, Any]) -> None:
    for kind, words in (
        ("categorical_features", "categories: CatBoost hashes and counts them while it predicts"),
        ("text_features", "texts"),
        ("embedding_features", "embeddings"),
    ):
        if information.get(kind):
            raise Unsupported(
                f"the CatBoost model takes {words}, which ONNX has no form for",
                hint="encode them as numbers before training",
            )


def _classes(held: dict[str, Any], outputs: int) -> tuple[object, ...]:
    names = held.get("class_names") or list(range(max(outputs, 2)))
    whole = all(isinstance(n, int) or (isinstance(n, float) and n.is_integer()) for n in names)
    return tuple(int(n) for n in names) if whole else tuple(str(n) for n in names)


def _symmetric(
    held: dict[str, Any],
    places: dict[int, int],
    high: dict[int, bool],
    outputs: int,
    scale: float,
) -> Tree:
    """A tree with one test a level; the test of level n is bit n of the leaf's number."""
    tests = held.get("splits") or []
    values = held["leaf_values"]
    tree = Tree()
    level = [(0, tree.reserve())]
    for bit in reversed(range(len(tests))):
        following = []
        for number, node in level:
            low, above = _test(tree, node, tests[bit], places, high)
            following += [(number, low), (number | 1 << bit, above)]
        level = following
    for number, node in level:
        part = values[number * outputs : (number + 1) * outputs]
        tree.weigh(node, [(t, float(v) * scale) for t, v in enumerate(part)])
    return tree


def _other(
    held: dict[str, Any],
    places: dict[int, int],
    high: dict[int, bool],
    outputs: int,
    scale: float,
) -> Tree:
    tree = Tree()
    waiting = [(held, tree.reserve())]
    while waiting:
        part, node = waiting.pop()
        if "split" in part:
            low, above = _test(tree, node, part["split"], places, high)
            waiting += [(part["left"], low), (part["right"], above)]
            continue
        value = part["value"]
        values = value if isinstance(value, list) else [value]
        tree.weigh(node, [(t, float(v) * scale) for t, v in enumerate(values)])
    return tree


def _test(
    tree: Tree, node: int, split: dict[str, Any], places: dict[int, int], high: dict[int, bool]
) -> tuple[int, int]:
    """Children where the value is not above the border, and where it is."""
    index = split["float_feature_index"]
    border = float(np.float32(split["border"]))
    return tree.branch(node, places[index], LEQ, border, not high[index])
