"""TensorFlow: SavedModel, frozen graphs, checkpoints of TensorFlow 1, and TensorFlow Lite."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelkit.convert import tensorflow_ends as ends
from modelkit.convert.source import Options, Route, Source
from modelkit.convert.tensorflow_ends import short
from modelkit.convert.tensorflow_graphs import (
    Graph,
    frozen,
    guarded,
    lite_bytes,
    named,
    operators,
    quiet,
    refuse_risky,
    source_of,
    specs_of,
    through_tf2onnx,
    translated_lite,
)
from modelkit.errors import BadInput, UsageError
from modelkit.model import Model
from modelkit.model.files import mapped, regular_file
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

import tensorflow as tf  # isort: skip  after tensorflow_graphs has set its environment
from tensorflow.core.protobuf import saved_model_pb2  # isort: skip

_SERVING = "serving_default"
_MOST_NAMED = 8


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load a model of any of TensorFlow's formats.

    Raises:
        BadInput: broken, or it holds operators that need trust.
        UsageError: inputs or outputs have to be named or shaped; the hint is what to type.
    """
    assert path is not None
    quiet()
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    openers = {
        "saved-model": open_saved_model,
        "frozen-graph": _open_frozen,
        "meta-graph": _open_checkpoint,
        "tflite": _open_lite,
    }
    return openers[name](path, options)


def open_saved_model(path: Path, options: Options, title: str = "TensorFlow SavedModel") -> Source:
    """A SavedModel folder, or the saved_model.pb in it, by its serving signature."""
    return served(path, options, title)[0]


def served(path: Path, options: Options, title: str) -> tuple[Source, list[str]]:
    """The same, and the names of the signature's outputs in their order."""
    folder = path if path.is_dir() else path.parent
    _refuse_risky_folder(folder, options)
    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise _unreadable(path, error) from None
    signatures = dict(loaded.signatures)
    if not signatures:
        raise BadInput(
            f"{safe(str(path))} has no signature to serve",
            hint="save it with signatures={'serving_default': function}",
        )
    chosen = options.task or (_SERVING if _SERVING in signatures else next(iter(signatures)))
    if chosen not in signatures:
        raise UsageError(
            f"no signature is called '{safe(chosen)}'",
            hint=f"signatures: {', '.join(safe(s, 60) for s in signatures)}",
        )
    function = signatures[chosen]
    graph = frozen(function)
    known = function.structured_input_signature[1]
    tensors = [(n, known[n].dtype, known[n].shape) for n in graph.inputs.values()]
    specs = specs_of(tensors, options, graph.definition)
    outputs = list(graph.outputs.values())

    def call(feeds: Feeds) -> dict[str, np.ndarray]:
        found = function(**{spec.name: tf.constant(feeds[spec.name]) for spec in specs})
        return {name: found[name].numpy() for name in outputs}

    others = [safe(s, 60) for s in signatures if s != chosen]
    notes = [f"signature {safe(chosen, 60)}; --task takes another: {', '.join(others)}"]
    # The loaded object owns the variables; it has to live as long as its functions.
    call.__dict__["owner"] = loaded
    return source_of(title, graph, specs, call, notes if others else ()), outputs


def _refuse_risky_folder(folder: Path, options: Options) -> None:
    """Look at the operators before TensorFlow runs any: loading runs the initializers."""
    held = saved_model_pb2.SavedModel()
    try:
        held.ParseFromString(regular_file(folder / "saved_model.pb").read_bytes())
    except Exception as error:  # protobuf's DecodeError has no public home
        raise _unreadable(folder, error) from None
    for meta in held.meta_graphs:
        refuse_risky(operators(meta.graph_def), str(folder), options)


def _open_frozen(path: Path, options: Options) -> Source:
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(bytes(mapped(path)))
    except Exception as error:  # protobuf's DecodeError has no public home
        raise _unreadable(path, error) from None
    return graph_source("TensorFlow GraphDef", definition, path, options)


def graph_source(title: str, definition: Any, path: Path, options: Options) -> Source:
    """A graph without variables; its ends are found, unless the user names them."""
    inputs = options.inputs or ends.placeholders(definition)
    outputs = options.outputs or ends.results(definition, inputs)
    if not inputs or not outputs:
        raise UsageError(
            f"the ends of {safe(str(path))} are not to be found",
            cause=f"inputs: {len(inputs)}, outputs: {len(outputs)}",
            hint="name them: --inputs x --outputs y",
        )
    known = {node.name for node in definition.node}
    for name in map(ends.node_of, (*inputs, *outputs)):
        if name not in known:
            raise UsageError(
                f"the graph has no node '{safe(name)}'",
                hint=f"its ends: {', '.join(safe(n, 60) for n in (*inputs, *outputs)[:8])}",
            )
    inputs, off = _given(definition, inputs, outputs, path, options)
    tensors = [ends.tensor(name) for name in (*inputs, *outputs)]

    def load() -> None:
        tf.import_graph_def(definition, name="")

    wrapped = tf.compat.v1.wrap_function(load, [])
    feeds_at = [wrapped.graph.get_tensor_by_name(t) for t in tensors[: len(inputs)]]
    fetches = [wrapped.graph.get_tensor_by_name(t) for t in tensors[len(inputs) :]]
    function = wrapped.prune(feeds_at, fetches)
    graph = Graph(
        definition,
        dict(zip(tensors[: len(inputs)], map(short, inputs), strict=True)),
        dict(zip(tensors[len(inputs) :], map(short, outputs), strict=True)),
    )
    names = list(graph.inputs.values())
    given = [(n, t.dtype, t.shape) for n, t in zip(names, feeds_at, strict=True)]
    specs = specs_of(given, options, definition)

    def call(feeds: Feeds) -> dict[str, np.ndarray]:
        found = function(*(tf.constant(feeds[name]) for name in names))
        return {n: v.numpy() for n, v in zip(graph.outputs.values(), found, strict=True)}

    return source_of(title, graph, specs, call, [f"{safe(n, 60)} is set to False" for n in off])


def _given(
    definition: Any, inputs: Sequence[str], outputs: Sequence[str], path: Path, options: Options
) -> tuple[list[str], list[str]]:
    """The inputs that the outputs need, and the flags that are made False for want of a value."""
    needed = ends.between(definition, inputs, outputs)
    refuse_risky(ends.operators(definition, needed), str(path), options)
    off = ends.settled(needed, options.inputs)
    held = {node.name for node in needed}
    taken = [name for name in inputs if ends.node_of(name) in held and name not in off]
    missing = [n for n in ends.placeholders(definition) if n in held and n not in map(short, taken)]
    if missing:
        raise UsageError(
            f"the outputs need {safe(', '.join(missing[:_MOST_NAMED]), 200)} too",
            hint=f"--inputs {safe(','.join([*taken, *missing]), 300)}",
        )
    return taken, off


def _open_checkpoint(path: Path, options: Options) -> Source:
    """A .meta graph with the checkpoint of the same name beside it, or a folder of them."""
    from tensorflow.core.protobuf import meta_graph_pb2

    path = _latest(path) if path.is_dir() else path
    # Saver writes ".meta", ".index" and ".data-*" where it is given a folder.
    name = path.name.removesuffix(".meta")
    if not list(path.parent.glob(f"{name}.data-*")):
        raise BadInput(
            f"{safe(str(path))} holds a graph without its weights",
            hint=f"put {safe(name)}.index and {safe(name)}.data-* beside it",
            code="weights-missing",
        )
    meta = meta_graph_pb2.MetaGraphDef()
    try:
        meta.ParseFromString(bytes(mapped(path)))
    except Exception as error:  # protobuf's DecodeError has no public home
        raise _unreadable(path, error) from None
    refuse_risky(operators(meta.graph_def), str(path), options)
    for node in meta.graph_def.node:
        # Written by older versions, whose shapes of gradients newer ones call inconsistent.
        node.attr.pop("_output_shapes", None)
    saving = _saving_nodes(meta)
    inputs = options.inputs or [n for n in ends.placeholders(meta.graph_def) if n not in saving]
    outputs = options.outputs or _trained(meta, inputs, saving, path)
    definition = _restored(meta, path, [short(o) for o in outputs])
    narrowed = Options(
        input_shape=options.input_shape,
        trust_source=options.trust_source,
        inputs=options.inputs,
        outputs=tuple(outputs),
    )
    return graph_source("TensorFlow 1 checkpoint", definition, path, narrowed)


def _trained(meta: Any, inputs: Sequence[str], saving: set[str], path: Path) -> list[str]:
    """The results of a graph that was not saved for training.

    Raises:
        UsageError: it was, so that its ends are losses; the hint is what to type.
    """
    found = [n for n in ends.results(meta.graph_def, inputs) if n not in saving and not _trains(n)]
    if not any(_trains(node.name) for node in meta.graph_def.node):
        return found
    likely = [n for n in ends.likeliest(meta.graph_def, found) if not _trains(n)] or ["NAME"]
    raise UsageError(
        f"{safe(str(path))} was saved for training, which of its nodes is the result is not said",
        cause=safe(f"likely are {', '.join(likely[:_MOST_NAMED])}", 400),
        hint=f"name it: --outputs {safe(likely[0], 80)}",
    )


def _latest(folder: Path) -> Path:
    """The graph of the most steps: "model.ckpt-900.meta" before "model.ckpt-1000.meta"."""

    def steps(path: Path) -> int:
        return max((int(number) for number in re.findall(r"\d+", path.name)), default=0)

    return max(sorted(folder.glob("*.meta")), key=steps)


def _saving_nodes(meta: Any) -> set[str]:
    """Names of the nodes that write and read checkpoints."""
    top = meta.saver_def.restore_op_name.split("/")[0]
    return {n.name for n in meta.graph_def.node if top and n.name.split("/")[0] == top}


def _trains(name: str) -> bool:
    return any(part in ("gradients", "init", "Adam", "train") for part in name.split("/"))


def _restored(meta: Any, path: Path, outputs: Sequence[str]) -> Any:
    """The graph with the checkpoint's values as constants."""
    old = tf.compat.v1
    with tf.Graph().as_default(), old.Session() as session:
        try:
            saver = old.train.import_meta_graph(meta, clear_devices=True)
            saver.restore(session, str(path).removesuffix(".meta"))
            nodes = [name.split(":")[0] for name in outputs]
            return old.graph_util.convert_variables_to_constants(session, session.graph_def, nodes)
        except (ValueError, OSError, AssertionError, tf.errors.OpError) as error:
            raise _unreadable(path, error) from None


def _open_lite(path: Path, options: Options) -> Source:
    """A .tflite file, compared with TensorFlow Lite's own interpreter."""
    try:
        interpreter = tf.lite.Interpreter(str(path), num_threads=options.threads or None)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _unreadable(path, error) from None
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    tensors = [
        (
            short(d["name"]),
            tf.as_dtype(d["dtype"]),
            tf.TensorShape([_free(size) for size in d["shape_signature"]]),
        )
        for d in inputs
    ]
    specs = specs_of(tensors, options)
    weights, activations = lite_bytes(path)

    def call(feeds: Feeds) -> dict[str, np.ndarray]:
        for detail in inputs:
            value = feeds[short(detail["name"])]
            interpreter.resize_tensor_input(detail["index"], value.shape, strict=False)
        interpreter.allocate_tensors()
        for detail in inputs:
            interpreter.set_tensor(detail["index"], feeds[short(detail["name"])])
        interpreter.invoke()
        return {short(d["name"]): interpreter.get_tensor(d["index"]) for d in outputs}

    def export() -> Model:
        names = [short(d["name"]) for d in outputs]
        return named(through_tf2onnx(lambda: translated_lite(str(path))), specs, names)

    title, step = "TensorFlow Lite", "convert"
    if activations:
        title, step = "TensorFlow Lite, quantized", "requantized"
    elif weights:
        # Its kernels quantize the activations as they come, which adds the noise of 8 bits.
        title, step = "TensorFlow Lite, weights quantized", "int8-weights"
    return Source(title, guarded(call), specs, (Route("tf2onnx", export),), step=step)


def _free(dim: int) -> int | None:
    return None if dim < 0 else int(dim)


def _unreadable(path: Path, error: Exception) -> BadInput:
    lines = str(error).strip().splitlines() or [repr(error)]
    return BadInput(
        f"{safe(str(path))} could not be loaded by TensorFlow",
        cause=safe(lines[0], 300),
        hint="is it whole?",
        code="unreadable",
    )
