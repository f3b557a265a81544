"""``inspect``: what a model file holds, without reading its weights."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit import progress
from modelkit.model import Model, facts, history, load, nodes, operator_counts
from modelkit.model.facts import RUNTIMES
from modelkit.reports import FileFacts, InspectReport, ValueFacts
from modelkit.safe import safe

_LARGEST = 8
_SMALL = 1 << 16  # constants up to this many bytes are read for the lint
_READ_IN_ALL = 1 << 26  # and no more than this, so that a model of many stays instant
_STANDARD = ("", "ai.onnx", "ai.onnx.ml")
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")

Named = tuple[str, ir.TensorProtocol]


def inspect_file(path: str) -> InspectReport:
    """Describe the model in ``path``: signature, operators, sizes, history and lint.

    Weights are initializers and Constant nodes, those of subgraphs and functions too; the lint
    reads small ones only.  Inputs that are initializers (IR version 3) are not listed.

    Raises:
        BadInput: see :func:`modelkit.model.load`.
    """
    file = Path(path)
    progress.step("reading")
    model = load(file)
    progress.step("lint")
    found = facts(model, file)
    tensors = sorted(_tensors(model), key=lambda named: -_bytes(named[1]))
    by_dtype: Counter[str] = Counter()
    for _, tensor in tensors:
        by_dtype[_dtype(tensor.dtype)] += _bytes(tensor)
    return InspectReport(
        file=found,
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        inputs=tuple(_facts(value) for value in model.graph.inputs if value.const_value is None),
        outputs=tuple(map(_facts, model.graph.outputs)),
        operators=operator_counts(model),
        bytes_by_dtype=dict(by_dtype.most_common()),
        largest=tuple(
            (name, f"{_dtype(tensor.dtype)}{_dims(tensor)}", _bytes(tensor))
            for name, tensor in tensors[:_LARGEST]
        ),
        history=tuple(
            safe(f"{step.get('verb')} by modelkit {step.get('modelkit')}: {step.get('recipe')}")
            for step in history(model)
        ),
        lint=tuple(_lint(model, found, tensors)),
    )


def _initializers(model: Model) -> list[ir.Value]:
    """Those of the main graph, of functions, and of every subgraph."""
    bodies = [model.graph, *(function.graph for function in model.functions.values())]
    graphs = {id(graph): graph for graph in bodies}
    for body in bodies:
        graphs |= {id(graph): graph for graph in body.subgraphs()}
    return [
        value
        for graph in graphs.values()
        for value in graph.initializers.values()
        if value.const_value is not None
    ]


def _tensors(model: Model) -> list[Named]:
    found = [
        (value.name or "", value.const_value)
        for value in _initializers(model)
        if value.const_value is not None
    ]
    for node in nodes(model):
        attribute = node.attributes.get("value") if node.op_type == "Constant" else None
        if attribute is None or attribute.is_ref() or attribute.type != ir.AttributeType.TENSOR:
            continue
        found.append((node.outputs[0].name or "", attribute.as_tensor()))
    return found


def _bytes(tensor: ir.TensorProtocol) -> int:
    if tensor.dtype == ir.DataType.STRING:
        return sum(map(len, tensor.string_data())) if isinstance(tensor, ir.StringTensor) else 0
    return tensor.nbytes


def _dtype(kind: ir.DataType | None) -> str:
    name = kind.name.lower() if kind else "?"
    return {"float": "float32", "double": "float64"}.get(name, name)


def _dims(tensor: ir.TensorProtocol) -> str:
    return "[" + ",".join(map(str, tensor.shape.numpy())) + "]"


def _facts(value: ir.Value) -> ValueFacts:
    name = value.name or ""
    if value.shape is None:
        return ValueFacts(name, _dtype(value.dtype), ("...",))
    dims = tuple(dim if isinstance(dim, int) else (dim.value or "?") for dim in value.shape)
    return ValueFacts(name, _dtype(value.dtype), dims)


def _lint(model: Model, file: FileFacts, tensors: Sequence[Named]) -> Iterator[str]:
    """What is odd about the model, a line each; the line counts and names the first."""
    yield from _too_new(file)
    yield from _unread(model)
    yield from _odd_values(tensors)
    unnamed = sum(not node.name for node in nodes(model))
    if unnamed:
        yield f"{unnamed} nodes have no name, so that errors and reports cannot point at them"
    own = {identifier[0] for identifier in model.functions}
    foreign = sorted({node.domain for node in nodes(model)} - {*_STANDARD, *own})
    if foreign:
        yield f"needs a runtime with operators of {', '.join(safe(name, 60) for name in foreign)}"


def _too_new(file: FileFacts) -> Iterator[str]:
    """Opset and IR version against the installed runtime, or any release if none is."""
    opset = file.opset.get("", file.opset.get("ai.onnx", 0))
    installed = _installed_runtime()
    usable = [row for row in RUNTIMES if not installed or _release(row[0]) <= installed]
    newest_opset = max((row[1] for row in usable), default=0)
    newest_ir = max((row[2] for row in usable), default=0)
    shown = ".".join(map(str, installed))
    who = f"the installed ONNX Runtime {shown} opens" if installed else "any ONNX Runtime opens"
    if opset > newest_opset:
        yield f"opset {opset} is newer than {who} ({newest_opset})"
    if file.ir_version > newest_ir:
        yield f"IR version {file.ir_version} is newer than {who} ({newest_ir})"


def _installed_runtime() -> tuple[int, ...]:
    """Major and minor number of the installed ONNX Runtime, read without loading it."""
    for package in _PACKAGES:
        try:
            return _release(metadata.version(package))
        except metadata.PackageNotFoundError:
            continue
    return ()


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _unread(model: Model) -> Iterator[str]:
    unused = [
        value for value in _initializers(model) if not value.uses() and not value.is_graph_output()
    ]
    if unused:
        size = sum(_bytes(value.const_value) for value in unused if value.const_value is not None)
        name = _quoted(unused[0].name)
        yield f"{len(unused)} initializers nobody reads ({size:,} bytes), as {name}"
    idle = [
        node
        for node in nodes(model)
        if not any(value.uses() or value.is_graph_output() for value in node.outputs)
    ]
    if idle:
        name = f"{safe(idle[0].op_type)} {_quoted(idle[0].name)}"
        yield f"{len(idle)} nodes whose results nobody reads, as {name}"


def _odd_values(tensors: Sequence[Named]) -> Iterator[str]:
    seen: set[str] = set()
    copies: list[str] = []
    holding: dict[str, list[str]] = {"NaN": [], "infinity": []}
    left = _READ_IN_ALL
    for name, tensor in tensors:
        if tensor.dtype == ir.DataType.STRING or tensor.nbytes > min(_SMALL, left):
            continue
        left -= tensor.nbytes
        array = tensor.numpy()
        if tensor.dtype.is_floating_point():
            wide = array.astype(np.float64)
            for word, test in (("NaN", np.isnan), ("infinity", np.isinf)):
                if bool(test(wide).any()):
                    holding[word].append(name)
        if array.size > 1:
            key = f"{tensor.dtype}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"
            copies += [name] if key in seen else []
            seen.add(key)
    for word, found in holding.items():
        if found:
            yield f"{len(found)} small constants hold {word}, as {_quoted(found[0])}"
    if copies:
        yield f"{len(copies)} small constants are copies of others, as {_quoted(copies[0])}"


def _quoted(name: str | None) -> str:
    return f"'{safe(name or '')}'"
