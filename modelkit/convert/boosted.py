"""Boosted trees of any library as one ONNX graph, and as a source to convert.

Each library's own file is read by us into sums of leaves and a link from sums to predictions;
the library itself is only asked for its predictions, which the graph has to meet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelkit.convert import heads
from modelkit.convert.draft import Draft, Nodes
from modelkit.convert.source import Options, Route, Source
from modelkit.convert.tabular import Table, around, on_splits
from modelkit.convert.trees import Forest, categories_of, splits_of, write_forest
from modelkit.errors import UsageError
from modelkit.model import Model
from modelkit.runtime.session import Feeds

ZERO = float(np.float32(1e-35))
"""What LightGBM takes for zero, and everything between it and its negative."""


@dataclass(frozen=True)
class Boosted:
    """What a file of boosted trees says.

    Attributes:
        features: columns of the matrix.
        forest: its trees; with ``slopes`` the sums are [outputs, then outputs for each feature].
        link: from sums to predictions, a key of ``_LINKS``.
        outputs: sums a row has.
        classes: labels; empty for numbers.
        factor: multiplies the sums before the link.
        weights: [features + 1, outputs] of a linear booster, the last row being the bias.
        slopes: leaves are linear functions of the features.
        zero_missing: zeros are missing values.
    """

    features: int
    forest: Forest
    link: str = "identity"
    outputs: int = 1
    classes: tuple[object, ...] = ()
    factor: float = 1.0
    weights: np.ndarray | None = None
    slopes: bool = False
    zero_missing: bool = False


def write(nodes: Nodes, x: str, model: Boosted, *, double: bool) -> dict[str, str]:
    """Add the graph on ``x`` [batch, features]; the outputs by name.

    They are "label" [batch] and "probabilities" [batch, classes], or "prediction"
    [batch, outputs].
    """
    kind: type[np.floating] = np.float64 if double else np.float32
    raw = _sums(nodes, x, model, kind)
    if not model.classes:
        return {"prediction": _linked(nodes, raw, model, kind)}
    linked = _linked(nodes, raw, model, kind)
    if model.outputs == 1:
        linked = heads.two_columns(nodes, linked, kind)
    return {"label": heads.label(nodes, linked, model.classes), "probabilities": linked}


def _sums(nodes: Nodes, x: str, model: Boosted, kind: type[np.floating]) -> str:
    double = kind is np.float64
    if model.weights is not None:
        given = _filled(nodes, x, kind)
        slopes = nodes.constant(model.weights[:-1].astype(kind))
        return nodes.add(
            "Add",
            nodes.add("MatMul", given, slopes),
            nodes.constant(model.weights[-1:].astype(kind)),
        )
    if model.zero_missing:
        tiny = nodes.add("Abs", x)
        empty = nodes.add("LessOrEqual", tiny, nodes.constant(np.array(ZERO, kind)))
        x = nodes.add("Where", empty, nodes.constant(np.array(np.nan, kind)), x)
    sums = write_forest(nodes, x, model.forest, double=double)
    if not model.slopes:
        return sums
    shape = nodes.constant(np.array([0, model.features + 1, model.outputs], np.int64))
    table = nodes.add("Reshape", sums, shape)
    axis = nodes.constant(np.array([1], np.int64))
    wide = nodes.add("Pad", _filled(nodes, x, kind), *_one_in_front(nodes, kind))
    factors = nodes.add("Unsqueeze", wide, nodes.constant(np.array([2], np.int64)))
    return nodes.add("ReduceSum", nodes.add("Mul", table, factors), axis, keepdims=0)


def _filled(nodes: Nodes, x: str, kind: type[np.floating]) -> str:
    """``x`` with zeros for missing values."""
    zero = nodes.constant(np.array(0, kind))
    return nodes.add("Where", nodes.add("IsNaN", x), zero, x)


def _one_in_front(nodes: Nodes, kind: type[np.floating]) -> list[str]:
    """Pads and value that put a column of ones before a matrix."""
    return [nodes.constant(np.array([0, 1, 0, 0], np.int64)), nodes.constant(np.array(1, kind))]


def _linked(nodes: Nodes, raw: str, model: Boosted, kind: type[np.floating]) -> str:
    if model.link == "sigmoid":
        return heads.sigmoid(nodes, raw, model.factor, kind)
    if model.link == "sigmoid-shares":
        positive = heads.sigmoid(nodes, raw, model.factor, kind)
        axis = nodes.constant(np.array([1], np.int64))
        return nodes.add("Div", positive, nodes.add("ReduceSum", positive, axis, keepdims=1))
    if model.link == "softmax":
        return heads.softmax(nodes, raw)
    if model.link == "exp":
        return nodes.add("Exp", raw)
    if model.link == "log1p-exp":
        return nodes.add("Softplus", raw)
    if model.link == "signed-square":
        return nodes.add("Mul", raw, nodes.add("Abs", raw))
    if model.link == "above-zero":
        above = nodes.add("Greater", raw, nodes.constant(np.array(0, kind)))
        return nodes.add("Cast", above, to=11 if kind is np.float64 else 1)
    assert model.link == "identity", model.link
    return raw


def drafted(model: Boosted, *, double: bool) -> Model:
    """The whole model: one input "X" [batch, features]."""
    kind = "float64" if double else "float32"
    draft = Draft()
    x = draft.input("X", kind, ["batch", model.features])
    for name, value in write(draft, x, model, double=double).items():
        if name == "label":
            texts = any(isinstance(label, str) for label in model.classes)
            draft.output(value, name, "str" if texts else "int64", ["batch"])
        else:
            width = len(model.classes) or model.outputs
            draft.output(value, name, kind, ["batch", width])
    return draft.model("boosted trees")


def source_of(
    title: str,
    model: Boosted,
    predict: Callable[[np.ndarray], np.ndarray],
    options: Options,
    notes: Sequence[str] = (),
) -> Source:
    """A source whose reference is ``predict``.

    ``predict`` gives probabilities or numbers for a float64 matrix, [batch] or [batch, outputs];
    those of two classes may be of the second alone.
    """
    table = table_of(model, options.double)
    number = table.number()

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        return named(model, predict(feeds["X"].astype(np.float64)), number)

    route = Route("own reader", lambda: drafted(model, double=options.double))
    trials = (*table.trials(), _on_splits(model, table))
    return Source(title, run, table.specs(), (route,), (), tuple(notes), trials)


def named(model: Boosted, found: np.ndarray, number: str) -> dict[str, np.ndarray]:
    """A library's answer as the outputs of :func:`write`."""
    values = np.asarray(found, np.float64).reshape(len(found), -1)
    if not model.classes:
        return {"prediction": values.astype(number)}
    if values.shape[1] == 1 and len(model.classes) == 2:
        values = np.hstack([1 - values, values])
    texts = any(isinstance(label, str) for label in model.classes)
    labels: np.ndarray = np.array(model.classes, dtype=object if texts else np.int64)
    return {"label": labels[values.argmax(axis=1)], "probabilities": values.astype(number)}


def table_of(model: Boosted, double: bool) -> Table:
    """A matrix whose columns cover the splits; codes where a feature has categories."""
    codes = categories_of(model.forest)
    columns = list(around(splits_of(model.forest, model.features), missing=True))
    for feature, values in codes.items():
        unseen = max(values) + 1.0
        columns[feature] = replace(
            columns[feature], low=min(values), high=unseen, values=(*values, unseen)
        )
    return Table(tuple(columns), "X", double)


def _on_splits(model: Boosted, table: Table) -> Feeds:
    """Rows that lie exactly on the splits and beside them."""
    rows = on_splits(splits_of(model.forest, model.features), table.double)
    random = np.random.default_rng(1)
    for feature in categories_of(model.forest):
        held: Any = table.columns[feature].values
        rows[:, feature] = np.array(held)[random.integers(0, len(held), len(rows))]
    return table.feeds(rows)


def refuse_double(library: str, options: Options) -> None:
    """Refuse float64 for a library that has none.

    Raises:
        UsageError: asked for.
    """
    if options.double:
        raise UsageError(
            f"{library} itself computes in float32",
            hint="leave --double out: the float32 result is the same at every split",
        )
