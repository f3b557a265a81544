"""TensorFlow functions and graphs: what they take, what they give, and their way through tf2onnx.

tf2onnx writes opsets up to 18; a newer one is made from that by our own rules.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# TensorFlow logs to stderr while it is imported, and oneDNN makes its results differ by machine.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
from onnx import defs
from onnx_ir import Shape, from_proto
from tf2onnx import optimizer
from tf2onnx.tf_loader import from_function, tf_optimize
from tf2onnx.tflite.Model import Model as LiteModel
from tf2onnx.tflite.TensorType import TensorType
from tf2onnx.tfonnx import process_tf_graph

import modelkit.convert.tensorflow_operators  # noqa: F401  tells tf2onnx of them
from modelkit.convert import tensorflow_ends as ends
from modelkit.convert.input_shapes import parse, role
from modelkit.convert.source import Options, Route, Source
from modelkit.convert.tensorflow_dilations import merge_dilations
from modelkit.errors import BadInput, ModelkitError, Unsupported, UsageError
from modelkit.model import InputSpec, Model
from modelkit.model.walk import inside
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

OPSET = 18
_HOW = {"opset": OPSET, "continue_on_error": True}
_WHOLE = ("_XlaMustCompile", "_noinline")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ONNX = ("", "ai.onnx")
_DOMAINS = (*_ONNX, "ai.onnx.ml", "com.microsoft")
_MOST_NAMED = 8

# Operators that read or write files, open connections or run Python while a graph is loaded or run.
_RISKY = frozenset(
    {
        "WriteFile", "ReadFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc",
        "WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2",
        "TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDatasetV2",
        "SaveDataset", "SaveDatasetV2", "SaveSlices", "FileSystemSetConfiguration",
        "RpcCall", "RpcClient", "RpcServer", "CollectiveInitializeCommunicator",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Graph:
    """A frozen graph: tensors are known to TensorFlow by ``inputs`` and ``outputs`` ("x:0"),

    and to the result by the names they map to; ``folded`` when TensorFlow has folded its constants.
    """

    definition: Any
    inputs: dict[str, str]
    outputs: dict[str, str]
    folded: bool = False


def refuse_risky(names: Iterable[str], where: str, options: Options) -> None:
    """Refuse operators that touch files or run Python, unless the source is trusted.

    Raises:
        BadInput: naming them.
    """
    found = sorted(_RISKY & set(names))
    if found and not options.trust_source:
        raise BadInput(
            f"{safe(where)} holds operators that touch files or run Python",
            cause=safe(", ".join(found[:_MOST_NAMED]), 200),
            hint="if you trust it, add --trust-source",
            code="untrusted",
        )


def operators(definition: Any) -> Iterator[str]:
    """Names of all operators of a GraphDef, those of its functions too."""
    yield from (node.op for node in definition.node)
    for function in definition.library.function:
        yield from (node.op for node in function.node_def)


def frozen(function: Any) -> Graph:
    """A signature's function with its variables and captured values as constants."""
    # What is captured comes after the arguments.
    taken = len(function.inputs) - len(function.captured_inputs)
    inputs = [tensor.name for tensor in function.inputs[:taken]]
    outputs = [tensor.name for tensor in function.outputs]
    keywords = function.structured_input_signature[1]
    order = getattr(function, "_arg_keywords", None) or sorted(keywords)
    quiet()
    for key in function.graph.get_all_collection_keys():
        # TensorFlow 1 keeps names there of nodes that are not in the function.
        function.graph.clear_collection(key)
    try:
        definition = from_function(function, inputs, outputs)
    except (ValueError, tf.errors.OpError) as error:
        raise Unsupported(
            "TensorFlow could not make constants of the variables",
            cause=told(error),
            hint="take another signature (--task), or save the model again with TensorFlow 2",
            code="export-failed",
        ) from None
    return Graph(
        definition,
        dict(zip(inputs, order, strict=True)),
        dict(zip(outputs, sorted(function.structured_outputs), strict=True)),
        folded=not _let_inline(definition),
    )


def _let_inline(definition: Any) -> bool:
    """Take the marks off functions that keep them whole; whether there were any.

    Keras has grouped convolutions compiled by XLA, in functions of their own.
    """
    parts = [definition.node, *(function.node_def for function in definition.library.function)]
    marked = [node.attr for nodes in parts for node in nodes]
    marked += [function.attr for function in definition.library.function]
    found = [(attributes, mark) for attributes in marked for mark in _WHOLE if mark in attributes]
    for attributes, mark in found:
        del attributes[mark]
    return bool(found)


def quiet() -> None:
    """Keep the libraries' log lines out of ours."""
    tf.get_logger().setLevel(logging.ERROR)
    for name in ("tf2onnx", "absl", "keras", "h5py"):
        logging.getLogger(name).setLevel(logging.ERROR)


def specs_of(
    tensors: Sequence[tuple[str, Any, Any]], options: Options, definition: Any = None
) -> tuple[InputSpec, ...]:
    """What each (name, dtype, shape) holds; ``--input-shape`` fills in what is not known.

    Raises:
        UsageError: a shape of unknown rank that was not given; the hint is what to type.
    """
    asked = {one.spec.name: one.spec for one in parse(options.input_shape)}
    names = [name for name, _, _ in tensors]
    for name in asked:
        if name not in names:
            raise UsageError(
                f"--input-shape names '{safe(name)}', which is no input",
                hint=f"inputs: {', '.join(safe(n, 60) for n in names)}",
            )
    rows = ends.indexed_rows(definition) if definition is not None else {}
    found = []
    unknown = []
    for name, dtype, shape in tensors:
        kind = "str" if dtype == tf.string else tf.as_dtype(dtype).name
        if name in asked:
            dims = asked[name].shape
        elif shape.rank is None:
            unknown.append(f"--input-shape {safe(name, 60)}:batch,SIZE")
            continue
        else:
            dims = tuple(_dim(name, axis, dim) for axis, dim in enumerate(shape))
        meaning = "other" if kind == "str" else role(name, kind, len(dims))
        spec = InputSpec(name, kind, dims, meaning)
        if rows and meaning in ("ids", "token_types"):
            spec = replace(spec, low=0.0, high=float(rows.get(name, min(rows.values())) - 1))
        elif name in rows:
            # Embeddings of Keras 2 take floats, which they make whole.
            spec = replace(spec, role="ids", low=0.0, high=float(rows[name] - 1))
        found.append(spec)
    if unknown:
        raise UsageError(
            "the shapes of some inputs are not in the file",
            hint=f"add {' '.join(unknown)}",
            code="input-shape",
        )
    return tuple(found)


def _dim(name: str, axis: int, dim: int | None) -> int | str:
    if dim is not None:
        return int(dim)
    return "batch" if axis == 0 else f"{name}_{axis}"


def source_of(
    title: str,
    graph: Graph,
    specs: tuple[InputSpec, ...],
    call: Callable[[Feeds], dict[str, np.ndarray]],
    notes: Sequence[str] = (),
) -> Source:
    """A source that runs by ``call`` and is exported from ``graph``."""
    route = Route("tf2onnx", lambda: exported(graph, specs))
    return Source(title, guarded(call), specs, (route,), (), tuple(notes))


def guarded(call: Callable[[Feeds], dict[str, np.ndarray]]) -> Callable[..., dict[str, np.ndarray]]:
    """``call`` that raises UsageError where TensorFlow or Keras do not take its inputs."""

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        try:
            return call(feeds)
        except (tf.errors.OpError, ValueError, TypeError, RuntimeError) as error:
            raise UsageError(
                "the model did not run on the inputs tried",
                cause=told(error),
                hint="check --input-shape, or give real inputs with --sample FILE.npz",
                code="input-shape",
            ) from None

    return run


def told(error: Exception) -> str:
    """What ``error`` says: Keras names the layer, and what happened two lines below, in bold."""
    lines = [line for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    return safe(" ".join(lines[:2]) or repr(error), 300)


def exported(graph: Graph, specs: Sequence[InputSpec]) -> Model:
    """The ONNX model of a frozen graph.

    Raises:
        Unsupported: an operator has no ONNX form.
    """
    inputs, outputs = list(graph.inputs), list(graph.outputs)

    def translated() -> Any:
        definition = graph.definition
        if not graph.folded:
            with tf.Graph().as_default():
                definition = tf_optimize(inputs, outputs, definition)
        merge_dilations(definition)
        with tf.Graph().as_default() as loaded:
            tf.import_graph_def(definition, name="")
            return process_tf_graph(loaded, input_names=inputs, output_names=outputs, **_HOW)

    return named(through_tf2onnx(translated), specs, list(graph.outputs.values()))


def translated_lite(path: str) -> Any:
    """tf2onnx's graph of a TensorFlow Lite file."""
    return process_tf_graph(None, tflite_path=path, **_HOW)


def through_tf2onnx(translated: Callable[[], Any]) -> Model:
    """The ONNX model of what ``translated`` gives, tf2onnx's graph, made smaller by its optimizers.

    tf2onnx's own loop copies every weight twice for each of its optimizers and lets go of none:
    7.3 GB for a model of 95 MB, against 2.6 GB here in an eighth of the time.  It survives an
    optimizer that fails, so it has the second try.

    Raises:
        Unsupported: an operator has no ONNX form.
    """
    quiet()
    try:
        graph = translated()
        try:
            graph = _optimized(graph)
        except Exception:  # any type: tf2onnx's own loop leaves out the optimizer that failed
            graph = optimizer.optimize_graph(translated())
        made: Model = from_proto(graph.make_model("converted by tf2onnx"))
        for node in inside(made.graph):
            if node.domain in _ONNX and not _has_value(node.op_type):
                # tf2onnx leaves a value behind where it nearly folded one.
                node.attributes.pop("value", None)
    except Exception as error:  # tf2onnx raises any type
        raise refused(error) from None
    return made


def _has_value(kind: str) -> bool:
    """Whether an operator has an attribute of this name; unknown ones are refused elsewhere."""
    return not defs.has(kind) or "value" in defs.get_schema(kind).attributes


def _optimized(graph: Any) -> Any:
    """``graph`` after all of tf2onnx's optimizers, in turn, until none finds anything."""
    going, turn = True, 0
    while going:
        going = False
        for make in optimizer._get_optimizers().values():
            one = make()
            one.opt_iteration = turn
            graph = one._optimize(graph) or graph
            graph.delete_unused_nodes(graph.outputs)
            going |= one.graph_been_opt
        turn += 1
    graph.topological_sort(graph.get_nodes())
    return graph


def refused(error: Exception) -> ModelkitError:
    """What tf2onnx said, as one of our errors."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return Unsupported(
        "tf2onnx could not convert the graph",
        cause=safe(lines[0] if lines else type(error).__name__, 300),
        hint="replace that operator, or cut the graph before it (--outputs)",
        code="export-failed",
    )


def named(model: Model, specs: Sequence[InputSpec], outputs: Sequence[str]) -> Model:
    """``model`` with inputs and outputs named and ordered as given, unknown operators refused."""
    unknown = {
        node.op_type
        for node in inside(model.graph)
        if node.domain not in _DOMAINS or (node.domain in _ONNX and not defs.has(node.op_type))
    }
    if unknown:
        raise Unsupported(
            "tf2onnx knows no form of some operators",
            cause=safe(", ".join(sorted(unknown)[:_MOST_NAMED]), 200),
            hint="replace them in the model, or cut the graph before them (--outputs)",
            code="export-failed",
        )
    graph = model.graph
    held = {value.name: value for value in graph.inputs}
    by_name = [held.get(spec.name) or held.get(f"{spec.name}:0") for spec in specs]
    ordered = [value for value in by_name if value is not None]
    # Where names do not tell, tf2onnx keeps the order asked for.
    values = ordered if len(ordered) == len(specs) else list(graph.inputs)
    for value, spec in zip(values, specs, strict=True):
        value.name = spec.name
        value.shape = Shape(list(spec.shape))
    graph.inputs[:] = values
    for value, name in zip(graph.outputs, outputs, strict=True):
        value.name = name
        if value.shape is not None:
            # tf2onnx numbers the axes it does not know.
            dims = [dim if isinstance(dim, int) else None for dim in value.shape]
            value.shape = Shape([_dim(name, axis, dim) for axis, dim in enumerate(dims)])
    return model


def lite_bytes(path: Path) -> tuple[int, int]:
    """How many weights, and how many activations, of a TensorFlow Lite file are in 8 bits."""
    found = LiteModel.GetRootAsModel(path.read_bytes(), 0)
    graph = found.Subgraphs(0)
    tensors = [graph.Tensors(number) for number in range(graph.TensorsLength())]
    held = [
        found.Buffers(tensor.Buffer()).DataLength() > 0
        for tensor in tensors
        if tensor.Type() in (TensorType.INT8, TensorType.UINT8)
    ]
    return sum(held), len(held) - sum(held)
