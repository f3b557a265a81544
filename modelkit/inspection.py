"""``inspect``: what a model file holds, without reading its weights."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit import progress
from modelkit.model import Model, facts, history, load, nodes, operator_counts
from modelkit.model.write import LATEST_IR
from modelkit.reports import InspectReport, ValueFacts
from modelkit.safe import safe

_LARGEST = 8
_SMALL = 1 << 20  # constants up to this many bytes are read for the lint
_LATEST_OPSET = 26


def inspect_file(path: str) -> InspectReport:
    """Describe the model in ``path``: signature, operators, sizes, history and lint.

    Raises:
        BadInput: see :func:`modelkit.model.load`.
    """
    file = Path(path)
    progress.step("reading")
    model = load(file)
    progress.step("lint")
    tensors = sorted(_weights(model), key=lambda value: -_bytes(value))
    by_dtype: Counter[str] = Counter()
    for value in tensors:
        by_dtype[_dtype(value)] += _bytes(value)
    return InspectReport(
        file=facts(model, file),
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        inputs=tuple(map(_facts, model.graph.inputs)),
        outputs=tuple(map(_facts, model.graph.outputs)),
        operators=operator_counts(model),
        bytes_by_dtype=dict(by_dtype.most_common()),
        largest=tuple(
            (value.name or "", f"{_dtype(value)}{_dims(value)}", _bytes(value))
            for value in tensors[:_LARGEST]
        ),
        history=tuple(
            f"{step.get('verb')} by modelkit {step.get('modelkit')}: {step.get('recipe')}"
            for step in history(model)
        ),
        lint=tuple(_lint(model)),
    )


def _weights(model: Model) -> list[ir.Value]:
    graphs = {id(graph): graph for graph in (model.graph, *model.graph.subgraphs())}
    return [
        value
        for graph in graphs.values()
        for value in graph.initializers.values()
        if value.const_value is not None
    ]


def _bytes(value: ir.Value) -> int:
    return value.const_value.nbytes if value.const_value is not None else 0


def _dtype(value: ir.Value) -> str:
    kind = value.const_value.dtype if value.const_value is not None else value.dtype
    return _dtype_name(kind)


def _dtype_name(kind: ir.DataType | None) -> str:
    name = kind.name.lower() if kind else "?"
    return {"float": "float32", "double": "float64"}.get(name, name)


def _dims(value: ir.Value) -> str:
    shape = value.const_value.shape.numpy() if value.const_value is not None else ()
    return "[" + ",".join(map(str, shape)) + "]"


def _facts(value: ir.Value) -> ValueFacts:
    shape = tuple(dim if isinstance(dim, int) else (dim.value or "?") for dim in value.shape or ())
    return ValueFacts(value.name or "", _dtype_name(value.dtype), shape)


def _lint(model: Model) -> Iterator[str]:
    yield from _version_lint(model)
    weights = _weights(model)
    unused = [value for value in weights if not value.uses() and not value.is_graph_output()]
    if unused:
        size = sum(map(_bytes, unused))
        yield f"{len(unused)} initializers nobody reads ({size:,} bytes), as {_first(unused)}"
    idle = [
        node
        for node in model.graph
        if not any(value.uses() or value.is_graph_output() for value in node.outputs)
    ]
    if idle:
        name = f"{safe(idle[0].op_type)} '{safe(idle[0].name or '')}'"
        yield f"{len(idle)} nodes whose results nobody reads, as {name}"
    seen: dict[str, ir.Value] = {}
    copies = 0
    for value in weights:
        array = _small_array(value)
        if array is None or array.size < 2:
            continue
        if array.dtype.kind == "f" and not math.isfinite(float(np.sum(array))):
            yield f"constant '{safe(value.name or '')}' holds NaN or infinity"
        key = f"{array.dtype}{array.shape}" + hashlib.sha256(array.tobytes()).hexdigest()
        copies += seen.setdefault(key, value) is not value
    if copies:
        yield f"{copies} small initializers are copies of others"
    foreign = sorted({node.domain for node in nodes(model)} - {"", "ai.onnx", "ai.onnx.ml"})
    if foreign:
        yield f"needs a runtime with operators of {', '.join(safe(name, 60) for name in foreign)}"


def _version_lint(model: Model) -> Iterator[str]:
    opset = model.graph.opset_imports.get("", 0)
    if opset > _LATEST_OPSET:
        yield f"opset {opset} is newer than any ONNX Runtime release opens ({_LATEST_OPSET})"
    if model.ir_version > LATEST_IR:
        yield f"IR version {model.ir_version} is newer than any ONNX Runtime opens ({LATEST_IR})"


def _small_array(value: ir.Value) -> np.ndarray | None:
    tensor = value.const_value
    if tensor is None or tensor.nbytes > _SMALL or tensor.dtype == ir.DataType.STRING:
        return None
    return np.asarray(tensor.numpy())


def _first(values: list[ir.Value]) -> str:
    return f"'{safe(values[0].name or '')}'"
