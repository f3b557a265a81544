"""scikit-learn: estimators and pipelines of numbers, strings and texts, through skl2onnx.

Probabilities are one matrix, never a list of dictionaries (zipmap).  Numbers are float32 unless
``double``: a value that lies on the split of a tree can then go the other way, which is looked
for and said.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import skl2onnx
from onnx_ir import Shape, from_proto
from onnx_ir import node as node_of
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.base import BaseEstimator, is_classifier, is_clusterer, is_outlier_detector
from sklearn.feature_extraction.text import CountVectorizer

from modelkit.convert import sklearn_texts
from modelkit.convert.sample_file import with_sample
from modelkit.convert.sklearn_boosters import booster_splits, library_of, use_own_boosters
from modelkit.convert.sklearn_files import read_model
from modelkit.convert.sklearn_inputs import splits_of, steps, table_of
from modelkit.convert.sklearn_trees import use_own_trees
from modelkit.convert.source import Options, Route, Source
from modelkit.convert.tabular import Table, on_splits
from modelkit.errors import BadInput, ModelkitError, Unsupported, UsageError
from modelkit.model import InputSpec, Model, add_constant, fresh_name, save
from modelkit.runtime.metrics import relative
from modelkit.runtime.session import Feeds, open_session
from modelkit.safe import safe

_OPSET = 18
_ML_OPSET = 3
_TYPES = {
    "float32": FloatTensorType,
    "float64": DoubleTensorType,
    "int64": Int64TensorType,
    "str": StringTensorType,
}
_VISIBLE = 1e-5


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load the estimator; what it takes is read from its fitted attributes.

    Raises:
        BadInput: not trusted, broken, or no estimator.
        Unsupported: a way of choosing columns that is not in the file.
    """
    assert path is not None
    model, notes = read_model(path, name, trust=options.trust_source)
    library = library_of(model)
    if library in ("xgboost", "lightgbm", "catboost"):
        return _boosted_source(model, library, options)
    if not isinstance(model, BaseEstimator):
        raise BadInput(
            f"{safe(str(path))} holds {safe(type(model).__name__)}, no scikit-learn estimator"
        )
    return source_of(model, options, notes)


def _boosted_source(model: Any, library: str, options: Options) -> Source:
    """An estimator, or a bare booster, of a library of boosted trees."""
    module = importlib.import_module(f"modelkit.convert.from_{library}")
    opener = "booster_source" if type(model).__name__ == "Booster" else "estimator_source"
    found: Source = getattr(module, opener)(model, options)
    return found


def source_of(model: Any, options: Options, notes: tuple[str, ...] = ()) -> Source:
    """The source of a fitted estimator."""
    texts = sklearn_texts.vectorizers(steps(model)[0])
    table = None if texts else table_of(model, options.double)
    specs = table.specs() if table else (InputSpec("text", "str", ("batch",), "other"),)
    cutters = [part for part in _parts(model) if isinstance(part, CountVectorizer)]
    notes = (*notes, *sklearn_texts.remarks(cutters))
    title = f"scikit-learn {safe(type(steps(model)[-1]).__name__, 60)}"

    if not any(hasattr(model, name) for name in ("predict", "transform")):
        raise Unsupported(
            f"{safe(type(model).__name__, 60)} says nothing of new rows",
            cause="it has neither predict nor transform",
            hint="convert a model that is fitted to what it found, as a classifier of its labels",
        )

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        try:
            return _predicted(model, _rows(model, feeds, specs), options.double)
        except Exception as error:  # an estimator raises any type
            raise _not_run(error) from None

    if table and any(column.missing for column in table.columns) and not _runs(run, table):
        table = table.whole()
    trials = table.trials() if table else sklearn_texts.trials(texts)

    def remarks(result: Model) -> Sequence[str]:
        return _edges(model, table, run, result) if table else ()

    # Under other names the file of the user is read later.
    given = () if options.rename else with_sample(Source(title, run, specs, ()), options).trials
    sample = given[0] if given else trials[1]
    expected = run(sample)

    def export() -> Model:
        return _shaped(_exported(model, specs, list(expected), options), sample, expected)

    route = Route("skl2onnx", export, remarks=remarks)
    advice = "" if options.double or texts else "--double computes in float64 as scikit-learn does"
    return Source(title, run, specs, (route,), (), notes, trials, advice=advice)


def _runs(run: Callable[[Feeds], object], table: Table) -> bool:
    """Whether rows with missing values are taken: a scaler takes them, what follows may not."""
    try:
        run(table.trials()[1])
    except UsageError:
        return False
    return True


def _not_run(error: Exception) -> UsageError:
    return UsageError(
        "scikit-learn does not run the model on the rows tried",
        cause=safe(" ".join(f"{type(error).__name__}: {error}".split()), 300),
        hint="give rows like those of training with --sample FILE.npz",
        code="other-rows",
    )


def _rows(model: Any, feeds: Feeds, specs: Sequence[InputSpec]) -> Any:
    """``feeds`` as scikit-learn takes them, numbers as float64."""
    if len(specs) == 1 and specs[0].name in ("X", "text"):
        value = feeds[specs[0].name]
        return value.tolist() if specs[0].dtype == "str" else value.astype(np.float64)
    import pandas as pd

    first = steps(model)[0]
    names = [str(n) for n in getattr(first, "feature_names_in_", ())]
    numbered = not names
    names = names or [f"x{index}" for index in range(first.n_features_in_)]
    count = len(next(iter(feeds.values())))
    columns: dict[Any, Any] = {}
    for index, name in enumerate(names):
        value = feeds[name].reshape(-1) if name in feeds else np.full(count, np.nan)
        value = value.astype(np.float64) if value.dtype == np.float32 else value
        columns[index if numbered else name] = value
    return pd.DataFrame(columns)


def _predicted(model: Any, rows: Any, double: bool) -> dict[str, np.ndarray]:
    """What the estimator gives, named and typed as the result's outputs."""
    number = np.float64 if double else np.float32
    if is_classifier(model):
        found = {"label": _labels(model.predict(rows))}
        if hasattr(model, "predict_proba"):
            return {**found, "probabilities": np.asarray(model.predict_proba(rows), number)}
        scores: np.ndarray = np.asarray(model.decision_function(rows), number)
        # skl2onnx writes the margin of two classes as [-margin, margin].
        if scores.ndim == 1:
            scores = scores.reshape(-1, 1) * np.array([[-1, 1]], number)
        return {**found, "scores": scores}
    if is_outlier_detector(model):
        found = {"label": _labels(model.predict(rows)).reshape(-1, 1)}
        return {**found, "scores": np.asarray(model.decision_function(rows), number).reshape(-1, 1)}
    if is_clusterer(model) and hasattr(model, "predict"):
        found = {"label": _labels(model.predict(rows))}
        return {**found, "scores": np.asarray(model.transform(rows), number)}
    if hasattr(model, "predict"):
        value = np.asarray(model.predict(rows), number)
        return {"prediction": value.reshape(len(value), -1)}
    value = model.transform(rows)
    value = value.toarray() if hasattr(value, "toarray") else np.asarray(value)
    return {"transformed": value.astype(number)}


def _labels(values: Any) -> np.ndarray:
    labels = np.asarray(values)
    return labels.astype(object) if labels.dtype.kind in "OUS" else labels.astype(np.int64)


def _exported(
    model: Any, specs: Sequence[InputSpec], names: Sequence[str], options: Options
) -> Model:
    types = [(spec.name, _TYPES[spec.dtype]([None, *spec.shape[1:]])) for spec in specs]
    settings: dict[Any, dict[str, Any]] = {}
    for part in _parts(model):
        if isinstance(part, CountVectorizer):
            settings[id(part)] = sklearn_texts.settings(part)
    use_own_trees()
    use_own_boosters(_parts(model))
    sklearn_texts.use_own_logarithm()
    for part in _parts(model):
        if hasattr(part, "flatten_transform"):
            # Of transform(), which is not converted; skl2onnx refuses it.
            part.flatten_transform = False
    own: list[dict[str, Any]] = [{}]
    if is_classifier(model):
        own = [{"zipmap": False}, {}]
    if "scores" in names and is_classifier(model):
        own = [{"zipmap": False, "raw_scores": True}, {"raw_scores": True}, *own]
    found: Model = from_proto(_first_accepted(model, types, settings, own))
    for value, name in zip(found.graph.outputs, names, strict=False):
        value.name = name
    for value in (*found.graph.inputs, *found.graph.outputs):
        value.shape = Shape(["batch", *(value.shape[1:] if value.shape else ())])
    return found


def _first_accepted(
    model: Any,
    types: list[tuple[str, Any]],
    settings: dict[Any, dict[str, Any]],
    own: list[dict[str, Any]],
) -> Any:
    """The result with the first of ``own`` options that this estimator has."""
    for number, wanted in enumerate(own):
        try:
            return skl2onnx.to_onnx(
                model,
                initial_types=types,
                options={**settings, **({id(steps(model)[-1]): wanted} if wanted else {})},
                target_opset={"": _OPSET, "ai.onnx.ml": _ML_OPSET},
            )
        except Exception as error:  # skl2onnx raises any type
            if number == len(own) - 1 or "Option" not in str(error):
                raise _refused(error) from None
    raise AssertionError("the last options are raised or returned")


def _shaped(model: Model, sample: Feeds, expected: Feeds) -> Model:
    """``model`` with outputs of the shapes of ``expected``: some labels come as a column."""
    try:
        found = _run(model, sample)
    except ModelkitError:
        return model  # the comparison with scikit-learn says what is wrong
    for index, (name, wanted) in enumerate(expected.items()):
        value = found.get(name)
        if not isinstance(value, np.ndarray) or value.shape == wanted.shape:
            continue
        if value.size == wanted.size:
            _reshape(model, index, (-1, *wanted.shape[1:]))
    return model


def _reshape(model: Model, index: int, shape: Sequence[int]) -> None:
    old = model.graph.outputs[index]
    target = add_constant(model.graph, "shape", np.array(shape, np.int64))
    node = node_of("Reshape", [old, target])
    new = node.outputs[0]
    new.name, new.type, new.shape = old.name, old.type, Shape(["batch", *shape[1:]])
    old.name = fresh_name(model.graph, f"{new.name}_raw")
    model.graph.append(node)
    model.graph.outputs[index] = new


def _run(model: Model, feeds: Feeds) -> Feeds:
    with TemporaryDirectory(prefix="modelkit-") as folder:
        path = save(model, Path(folder) / "model.onnx")
        with open_session(path) as session:
            return session.run(feeds)


def _parts(model: Any) -> list[Any]:
    """Every estimator inside, those of column transformers too."""
    found = []
    for part in steps(model):
        found.append(part)
        for _, inner, _ in getattr(part, "transformers_", ()):
            found += [] if isinstance(inner, str) else _parts(inner)
        for _, inner in getattr(part, "transformer_list", ()):
            found += [] if isinstance(inner, str) else _parts(inner)
    return found


def _refused(error: Exception) -> ModelkitError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return Unsupported(
        "skl2onnx could not convert the estimator",
        cause=safe(lines[0] if lines else type(error).__name__, 300),
        hint="replace that step by one that skl2onnx knows, fit it again and save it",
        code="export-failed",
    )


def _edges(model: Any, table: Table, run: Any, result: Model) -> Sequence[str]:
    """Whether rows that lie exactly on the splits of trees go where scikit-learn sends them."""
    rows = _edge_rows(model, table)
    if rows is None:
        return ()
    feeds = table.feeds(rows)
    try:
        wanted = run(feeds)
    except UsageError:
        return ()  # no rows that scikit-learn takes
    found = _run(result, feeds)
    wrong = np.zeros(len(rows), dtype=bool)
    for name, expected in wanted.items():
        if expected.dtype.kind != "f":
            wrong |= (expected != found[name]).reshape(len(rows), -1).any(axis=1)
        elif relative(expected, found[name]) > _VISIBLE:
            limit = _VISIBLE * float(np.abs(expected).max())
            off = np.abs(expected - found[name]) > limit
            wrong |= off.reshape(len(rows), -1).any(axis=1)
    if not wrong.any():
        return ()
    count = f"{int(wrong.sum())} of {len(rows)} rows that lie exactly on splits of trees"
    kind = "float64" if table.double else "float32"
    remedy = "" if table.double else "; --double follows scikit-learn there too"
    return (f"{count} go the other way in {kind}{remedy}",)


def _edge_rows(model: Any, table: Table) -> np.ndarray | None:
    if not table.name:
        return None
    *before, last = steps(model)
    count = getattr(last, "n_features_in_", len(table.columns))
    splits = splits_of(last, int(count)) or booster_splits(last, int(count))
    if splits is None:
        return None
    rows = on_splits(splits, table.double or bool(before))
    for part in reversed(before):
        if not hasattr(part, "inverse_transform"):
            return None
        rows = part.inverse_transform(rows)
    return np.asarray(rows)
