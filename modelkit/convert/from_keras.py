"""Keras 3 archives, and HDF5 files of Keras 3 and 2, by way of a SavedModel.

The SavedModel keeps the constants of Normalization layers, which a bare function loses.  Lambda
layers hold Python code: they are loaded only when the source is trusted.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from modelkit.convert.from_tensorflow import served
from modelkit.convert.input_shapes import parse
from modelkit.convert.source import Options, Source
from modelkit.convert.tensorflow_graphs import guarded, quiet, told
from modelkit.errors import BadInput, MissingExtra
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

import h5py  # isort: skip
import keras  # isort: skip  after tensorflow_graphs has set its environment
import tensorflow as tf  # isort: skip


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load the model without compiling it.

    Raises:
        BadInput: weights without a model, code that needs trust, a class that is not Keras', or
            a broken file.
    """
    assert path is not None
    quiet()
    old = name == "keras-h5" and _version(path).startswith("2")
    model = _loaded(path, old, options)
    words = {} if old else {"verbose": False, **_signature(model, options)}
    with TemporaryDirectory(prefix="modelkit-") as folder:
        try:
            model.export(folder, **words)
        except Exception as error:  # Keras raises any type
            refused = _unreadable(path, error, "exported as a SavedModel")
            refused.hint = _fixed(model) or refused.hint
            raise refused from None
        trusting = Options(input_shape=options.input_shape, trust_source=True)
        found, names = served(Path(folder), trusting, "Keras")
    title = f"Keras {2 if old else 3} {safe(type(model).__name__, 40)}"
    places = [value.name.split(":")[0] for value in model.inputs]
    return _own(model, found, title, names, places)


def _signature(model: Any, options: Options) -> dict[str, Any]:
    """The lengths asked for, with which Keras is to export: some layers take no open sizes."""
    asked = {one.spec.name: one.spec.shape for one in parse(options.input_shape)}
    names = [value.name for value in model.inputs or ()]
    if len(names) != 1 or list(asked) != names:
        return {}
    dims = [dim if isinstance(dim, int) else None for dim in asked[names[0]]]
    spec = keras.InputSpec(shape=dims, dtype=model.inputs[0].dtype, name=names[0])
    return {"input_signature": [spec]}


def _fixed(model: Any) -> str:
    """What to type where a layer takes no open sizes; "" where the model has none."""
    inputs = list(model.inputs or ())
    sizes = list(inputs[0].shape)[1:] if len(inputs) == 1 else []
    if None not in sizes:
        return ""
    dims = ",".join("224" if size is None else str(size) for size in sizes)
    given = f"--input-shape {safe(inputs[0].name)}:batch,{dims}"
    return f"if a layer takes no open sizes, fix them: {given}"


def _own(model: Any, found: Source, title: str, names: list[str], places: list[str]) -> Source:
    """The SavedModel's routes, held against the model itself as Keras runs it."""
    order = [spec.name for spec in found.inputs]
    # Exported inputs are named after the model's, in an order of their own.
    by_name = all(place in order for place in places)

    def call(feeds: Feeds) -> dict[str, np.ndarray]:
        values = [tf.constant(feeds[name]) for name in (places if by_name else order)]
        result = model(values[0] if len(values) == 1 else values, training=False)
        flat = [np.asarray(value) for value in tf.nest.flatten(result)]
        return dict(zip(names, flat, strict=True))

    return Source(title, guarded(call), found.inputs, found.routes)


def _version(path: Path) -> str:
    """The version of Keras that wrote an HDF5 file.

    Raises:
        BadInput: it holds weights only, or no model of Keras.
    """
    try:
        with h5py.File(path) as file:
            attributes = dict(file.attrs)
            groups = list(file)
    except OSError as error:
        raise _unreadable(path, error, "read as HDF5") from None
    if "model_config" in attributes:
        return str(attributes.get("keras_version", "3"))
    weights = "layer_names" in attributes or "layers" in groups or "_layer_checkpoint" in groups
    raise BadInput(
        f"{safe(str(path))} holds weights without a model"
        if weights
        else f"{safe(str(path))} is an HDF5 file without a Keras model",
        cause="there is no model_config in it",
        hint="build the model, call load_weights, and save it with model.save('m.keras')",
        code="model-missing" if weights else "unknown-format",
    )


def _loaded(path: Path, old: bool, options: Options) -> Any:
    if old:
        _refuse_code(path, options)
        try:
            import tf_keras
        except ModuleNotFoundError:
            raise MissingExtra("converting files of Keras 2", "tf") from None

        class GRU(tf_keras.layers.GRU):  # type: ignore[misc]  # known by this name in the file
            """Written before Keras knew ``reset_after``, it is computed without."""

            @classmethod
            def from_config(cls, config: dict[str, Any]) -> Any:
                return super().from_config({"reset_after": False, **config})

        load = tf_keras.models.load_model
        words: dict[str, Any] = {"custom_objects": {"GRU": GRU}}
    else:
        load, words = keras.saving.load_model, {"safe_mode": not options.trust_source}
    try:
        return load(str(path), compile=False, **words)
    except Exception as error:  # Keras raises any type
        text = str(error)
        if "Lambda" in text or "unsafe" in text.lower():
            raise BadInput(
                f"{safe(str(path))} holds a Lambda layer, which is Python code",
                hint="if you trust it, add --trust-source",
                code="untrusted",
            ) from None
        raise _unreadable(path, error, "loaded by Keras") from None


def _refuse_code(path: Path, options: Options) -> None:
    """Keras 2 runs the code of Lambda layers unasked; look before it loads."""
    with h5py.File(path) as file:
        config = file.attrs["model_config"]
    text = config if isinstance(config, str) else bytes(config).decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput(f"{safe(str(path))} has a broken model_config") from None
    if "Lambda" in _classes(parsed) and not options.trust_source:
        raise BadInput(
            f"{safe(str(path))} holds a Lambda layer, which is Python code",
            hint="if you trust it, add --trust-source",
            code="untrusted",
        )


def _classes(part: Any) -> set[str]:
    """Every class_name of a configuration."""
    found: set[str] = set()
    waiting = [part]
    while waiting:
        held = waiting.pop()
        if isinstance(held, dict):
            found.add(str(held.get("class_name", "")))
            waiting += held.values()
        elif isinstance(held, list):
            waiting += held
    return found


def _unreadable(path: Path, error: Exception, doing: str) -> BadInput:
    return BadInput(
        f"{safe(str(path))} could not be {doing}",
        cause=told(error),
        hint="is it whole? layers of your own are not known here: export a SavedModel instead",
        code="unreadable",
    )
