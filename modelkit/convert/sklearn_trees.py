"""scikit-learn's tree ensembles, written by us where skl2onnx is wrong.

skl2onnx sends missing values of forests to the right whatever was learned, rounds the splits of
histogram boosting to the nearer float32, and writes float64 trees that ONNX Runtime refuses.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx.numpy_helper import from_array
from skl2onnx.common._registration import get_converter, register_converter
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.data_types import guess_proto_type as proto_type
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
)
from sklearn.ensemble._iforest import _average_path_length

from modelkit.convert import heads
from modelkit.convert.draft import Nodes
from modelkit.convert.trees import LEQ, Forest, Tree, write_forest

_OPSETS = {"": 18, "ai.onnx.ml": 3}
_ONNX_TYPES = {"float32": 1, "int64": 7, "float64": 11, "object": 8}
_ALIASES = (
    "SklearnDecisionTreeClassifier", "SklearnDecisionTreeRegressor",
    "SklearnRandomForestClassifier", "SklearnRandomForestRegressor",
    "SklearnExtraTreesClassifier", "SklearnExtraTreesRegressor",
    "SklearnExtraTreeClassifier", "SklearnExtraTreeRegressor",
    "SklearnGradientBoostingClassifier", "SklearnGradientBoostingRegressor",
    "SklearnHistGradientBoostingClassifier", "SklearnHistGradientBoostingRegressor",
    "SklearnIsolationForest",
)  # fmt: skip
_HIST = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_originals: dict[str, Callable[..., None]] = {}


class Container:
    """skl2onnx's list of nodes as :class:`Nodes`."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope = scope
        self._container = container

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node of one output and return its name."""
        name: str = self._scope.get_unique_variable_name(op)
        self.emit(op, list(inputs), name, domain, attributes)
        return name

    def emit(
        self, op: str, inputs: list[str], output: str, domain: str, attributes: dict[str, Any]
    ) -> None:
        """Add a node whose output has a given name."""
        attributes = {
            key: from_array(value) if isinstance(value, np.ndarray) else value
            for key, value in attributes.items()
        }
        self._container.add_node(
            op,
            inputs,
            [output],
            op_domain=domain,
            op_version=_OPSETS[domain],
            name=self._scope.get_unique_operator_name(op),
            **attributes,
        )

    def constant(self, array: np.ndarray) -> str:
        """Add an initializer and return its name."""
        name: str = self._scope.get_unique_variable_name("constant")
        values = (
            [str(v).encode() for v in array.ravel()] if array.dtype == object else array.ravel()
        )
        kind = _ONNX_TYPES[array.dtype.name]
        self._container.add_initializer(name, kind, list(array.shape), list(values))
        return name


def use_own_trees() -> None:
    """Let skl2onnx call our writer for tree ensembles, wherever they stand in a pipeline."""
    for alias in _ALIASES:
        if alias in _originals:
            continue
        original = get_converter(alias)
        _originals[alias] = original
        options = original.get_allowed_options()
        register_converter(alias, _writer(alias), overwrite=True, options=options)


def _writer(alias: str) -> Callable[..., None]:
    def write(scope: Any, operator: Any, container: Any) -> None:
        model = operator.raw_operator
        asked = container.get_options(model, {}) if hasattr(container, "get_options") else {}
        forest = (
            None if asked.get("decision_path") or asked.get("decision_leaf") else _forest(model)
        )
        if forest is None:
            _originals[alias](scope, operator, container)
        else:
            _write(Container(scope, container), operator, model, forest)

    return write


def _write(nodes: Container, operator: Any, model: Any, forest: Forest) -> None:
    given = operator.inputs[0]
    double = isinstance(given.type, DoubleTensorType)
    x = given.full_name
    if (not double and proto_type(given.type) != 1) or (double and not isinstance(model, _HIST)):
        x = nodes.add("Cast", x, to=1)
    if double and not isinstance(model, _HIST):
        # Trees of scikit-learn compare float32 values with float64 splits.
        x = nodes.add("Cast", x, to=11)
    kind: type[np.floating] = np.float64 if double else np.float32
    raw = write_forest(nodes, x, forest, double=double)
    outputs = [output.full_name for output in operator.outputs]
    if double:
        # Some of skl2onnx's shape rules say float32 whatever comes in.
        operator.outputs[-1].set_type(DoubleTensorType(operator.outputs[-1].type.shape))
    if isinstance(model, IsolationForest):
        _write_isolation(nodes, model, raw, outputs, kind)
        return
    if not hasattr(model, "classes_"):
        value = nodes.add("Exp", raw) if _exponential(model) else raw
        nodes.emit("Identity", [value], outputs[0], "", {})
        return
    chosen, probabilities = _classified(nodes, model, forest, raw, kind)
    nodes.emit("Identity", [chosen], outputs[0], "", {})
    nodes.emit("Identity", [probabilities], outputs[1], "", {})


def _classified(
    nodes: Nodes, model: Any, forest: Forest, raw: str, kind: type[np.floating]
) -> tuple[str, str]:
    classes = model.classes_.tolist()
    if not _boosted(model):
        return heads.label(nodes, raw, classes), raw
    if forest.targets > 1:
        probabilities = heads.softmax(nodes, raw)
        return heads.label(nodes, raw, classes), probabilities
    factor = 2.0 if getattr(model, "loss", "") == "exponential" else 1.0
    positive = heads.sigmoid(nodes, raw, factor, kind)
    index = heads.label_above(nodes, raw, 0.0, kind)
    return heads.pick(nodes, index, classes), heads.two_columns(nodes, positive, kind)


def _write_isolation(
    nodes: Container, model: Any, raw: str, outputs: list[str], kind: type[np.floating]
) -> None:
    """Depth sums to scores: -2 ** (-depth / expected) - offset; negative is an outlier."""
    expected = len(model.estimators_) * _average_path_length(np.array([model._max_samples]))
    shrunk = nodes.add("Mul", raw, nodes.constant(np.array(-1 / expected[0], kind)))
    power = nodes.add("Pow", nodes.constant(np.array(2, kind)), shrunk)
    shift = nodes.constant(np.array(-model.offset_, kind))
    scores = nodes.add("Sub", shift, power)
    outlier = nodes.add("Less", scores, nodes.constant(np.array(0, kind)))
    sides = [nodes.constant(np.array(side, np.int64)) for side in (-1, 1)]
    nodes.emit("Where", [outlier, *sides], outputs[0], "", {})
    nodes.emit("Identity", [scores], outputs[1], "", {})


def _exponential(model: Any) -> bool:
    """Whether a regressor predicts on a logarithmic scale."""
    return isinstance(model, _HIST) and model.loss in ("poisson", "gamma")


def _boosted(model: Any) -> bool:
    return isinstance(model, _HIST) or hasattr(model, "init_")


def _forest(model: Any) -> Forest | None:
    """The trees of ``model``; None where skl2onnx knows more of it than we do."""
    if isinstance(model, _HIST):
        return _histogram_forest(model)
    if isinstance(model, IsolationForest):
        return _isolation_forest(model)
    if _boosted(model):
        return _boosted_forest(model)
    if getattr(model, "n_outputs_", 1) != 1 and hasattr(model, "classes_"):
        return None
    trees = [part.tree_ for part in getattr(model, "estimators_", [model])]
    share = hasattr(model, "classes_")
    found = [_tree(tree, _values(tree, share=share)) for tree in trees]
    targets = len(model.classes_) if share else int(model.n_outputs_)
    return Forest(found, targets, average=True)


def _values(tree: Any, *, share: bool) -> np.ndarray:
    """[nodes, targets]: values of a regressor, shares of the classes of a classifier."""
    values: np.ndarray = tree.value.reshape(tree.node_count, -1)
    return values / values.sum(axis=1, keepdims=True) if share else values


def _tree(tree: Any, values: np.ndarray, first: int = 0) -> Tree:
    made = Tree()
    for _ in range(tree.node_count):
        made.reserve()
    missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count, dtype=bool))
    for node in range(tree.node_count):
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left < 0:
            made.weigh(node, [(first + t, float(v)) for t, v in enumerate(values[node]) if v != 0])
            continue
        split, feature = float(tree.threshold[node]), int(tree.feature[node])
        made.link(node, feature, LEQ, split, bool(missing[node]), left, right)
    return made


def _boosted_forest(model: Any) -> Forest | None:
    if model.init_ != "zero" and not hasattr(model.init_, "strategy"):
        return None
    targets = model.estimators_.shape[1]
    rate = float(model.learning_rate)
    trees = [
        _tree(part.tree_, _values(part.tree_, share=False) * rate, target)
        for stage in model.estimators_
        for target, part in enumerate(stage)
    ]
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))
    return Forest(trees, targets, base=tuple(float(v) for v in np.ravel(start)))


def _isolation_forest(model: Any) -> Forest:
    """Trees that add up the depths at which a row is cut off from the others."""
    trees = []
    for part, chosen in zip(model.estimators_, model.estimators_features_, strict=True):
        tree = part.tree_
        depths = tree.compute_node_depths() + _average_path_length(tree.n_node_samples) - 1.0
        made = _tree(tree, depths.reshape(-1, 1))
        made.feature = [int(chosen[feature]) if feature >= 0 else 0 for feature in made.feature]
        trees.append(made)
    return Forest(trees)


def _histogram_forest(model: Any) -> Forest | None:
    if getattr(model, "is_categorical_", None) is not None and np.any(model.is_categorical_):
        return None
    trees = []
    for stage in model._predictors:
        for target, predictor in enumerate(stage):
            trees.append(_histogram_tree(predictor.nodes, target))
    base = tuple(float(v) for v in np.ravel(model._baseline_prediction))
    return Forest(trees, len(base), base=base)


def _histogram_tree(nodes: np.ndarray, target: int) -> Tree:
    made = Tree()
    for _ in nodes:
        made.reserve()
    for index, node in enumerate(nodes):
        if node["is_leaf"]:
            made.weigh(index, [(target, float(node["value"]))])
            continue
        made.link(
            index,
            int(node["feature_idx"]),
            LEQ,
            float(node["num_threshold"]),
            bool(node["missing_go_to_left"]),
            int(node["left"]),
            int(node["right"]),
        )
    return made
