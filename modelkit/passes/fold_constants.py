"""Compute now what depends on no input."""

import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.errors import ModelkitError
from modelkit.model import Model, const_of, save
from modelkit.model.walk import bodies, graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import attribute, drop, initializer, is_onnx, is_random, replace
from modelkit.runtime.session import open_session
from modelkit.safe import safe

SMALL = 1 << 20
TOTAL = 64 << 20
GROWTH = 4

# Left to the runtime: it keeps weights small (dequantization) or may stop the process (integer
# division of the smallest number by -1).
NEVER = frozenset(("Constant", "DequantizeLinear", "QuantizeLinear", "Loop", "Scan", "If"))
DIVISIONS = frozenset(("Div", "Mod"))
TYPES = frozenset(
    (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.INT8,
     ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT8,
     ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64, ir.DataType.BOOL)
)  # fmt: skip


def fold_constants(model: Model) -> Changes:
    """Replace nodes whose inputs are all constant by their results, computed by ONNX Runtime.

    A result is folded when its size is known beforehand and is at most 1 MiB, or 4 times the
    node's inputs while all results together stay within 64 MiB; larger ones are left, with a note.
    Never folded: random operators, quantization, control flow, functions, graph outputs.
    """
    inside = {id(function.graph) for function in model.functions.values()}
    count, notes = 0, []
    for graph in list(graphs(model)):
        if id(graph) not in inside:
            batch, refused = _foldable(graph)
            notes += refused
            count += _folded(model, batch, notes) if batch else 0
    return Changes(count, tuple(notes))


def _foldable(graph: ir.Graph) -> tuple[list[ir.Node], list[str]]:
    """The nodes to compute, in order, and notes on what is too large."""
    batch: list[ir.Node] = []
    pending: set[ir.Value] = set()
    notes: list[str] = []
    total = 0
    for node in graph:
        if not _eligible(node, pending):
            continue
        sizes = [_bytes(value) for value in _read(node)]
        size = None if None in sizes else sum(size for size in sizes if size is not None)
        given = sum(_bytes(value) or 0 for value in node.inputs if value is not None)
        if size is None:
            continue
        if size > SMALL and (size > GROWTH * given or total + size > TOTAL):
            notes.append(f"{safe(node.op_type)} '{safe(node.name or '')}' left: {size} bytes")
            continue
        total += size
        batch.append(node)
        pending.update(node.outputs)
    return batch, notes


def _eligible(node: ir.Node, pending: set[ir.Value]) -> bool:
    if not is_onnx(node, node.op_type) or node.op_type in NEVER or is_random(node):
        return False
    if any(value.is_graph_output() for value in node.outputs) or any(True for _ in bodies(node)):
        return False
    if any(attribute.is_ref() for attribute in node.attributes.values()):
        return False
    given = [value for value in node.inputs if value is not None]
    if not given or not all(value in pending or _is_constant(value) for value in given):
        return False
    if node.op_type in DIVISIONS and given[0].dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return False
    return all(value.dtype in TYPES for value in (*given, *_read(node)))


def _read(node: ir.Node) -> list[ir.Value]:
    """The outputs that count: statistics of a normalization need no type if nobody reads them."""
    return [value for value in node.outputs if value is node.outputs[0] or value.uses()]


def _is_constant(value: ir.Value) -> bool:
    if value.is_graph_input():
        return False
    if value.const_value is not None:
        return True
    node = value.producer()
    return node is not None and is_onnx(node, "Constant") and attribute(node, "value") is not None


def _bytes(value: ir.Value) -> int | None:
    shape, dtype = value.shape, value.dtype
    if value.const_value is not None:
        return int(value.const_value.nbytes)
    if shape is None or dtype is None or not shape.is_static():
        return None
    size = dtype.bitwidth // 8
    for dim in shape:
        size *= int(dim)  # type: ignore[arg-type]
    return size


def _closed(batch: list[ir.Node]) -> list[ir.Node]:
    """Those of ``batch`` that need nothing but constants and each other."""
    kept: list[ir.Node] = []
    made: set[ir.Value] = set()
    for node in batch:
        given = (value for value in node.inputs if value is not None)
        if all(value in made or _is_constant(value) for value in given):
            kept.append(node)
            made.update(node.outputs)
    return kept


def _folded(model: Model, batch: list[ir.Node], notes: list[str]) -> int:
    batch = _closed(batch)
    chosen = set(batch)
    wanted = [
        value
        for node in batch
        for value in node.outputs
        if any(user not in chosen for user, _ in value.uses())
    ]
    try:
        results = _computed(model, batch, wanted) if wanted else {}
    except ModelkitError as error:
        if len(batch) == 1:
            notes.append(f"not folded: {error.cause or error.message}")
            return 0
        half = len(batch) // 2
        return _folded(model, batch[:half], notes) + _folded(model, batch[half:], notes)
    for value in wanted:
        array = results[str(value.name)]
        tensor = ir.tensor(np.array(array, order="C"))
        folded = initializer(model.graph, f"{value.name}_folded", tensor)
        replace(value, folded)
    for node in reversed(batch):
        drop(node)
    return len(batch)


def _computed(model: Model, batch: list[ir.Node], wanted: list[ir.Value]) -> dict[str, np.ndarray]:
    """The values of ``wanted``, by one run of a model that holds only ``batch``."""
    copies: dict[ir.Value, ir.Value] = {}
    feeds: dict[str, np.ndarray] = {}
    made = {value for node in batch for value in node.outputs}
    for node in batch:
        for value in node.inputs:
            if value is not None and value not in made and value not in copies:
                array = const_of(value)
                assert array is not None
                feeds[str(value.name)] = array
                copies[value] = _port(value, array.shape)
    inputs = list(copies.values())
    nodes = [_copied(node, copies) for node in batch]
    outputs = [copies[value] for value in wanted]
    graph = ir.Graph(
        inputs, outputs, nodes=nodes, opset_imports=dict(model.opset_imports), name="constants"
    )
    part = ir.Model(graph, ir_version=model.ir_version)
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        path = save(part, Path(folder) / "constants.onnx")
        with open_session(path, optimize=False) as session:
            return session.run(feeds)


def _port(value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
    return ir.Value(name=value.name, type=ir.TensorType(_dtype(value)), shape=ir.Shape(shape))


def _dtype(value: ir.Value) -> ir.DataType:
    assert value.dtype is not None
    return value.dtype


def _copied(node: ir.Node, copies: dict[ir.Value, ir.Value]) -> ir.Node:
    inputs = [None if value is None else copies[value] for value in node.inputs]
    outputs = [
        ir.Value(name=value.name, type=None if value.dtype is None else ir.TensorType(value.dtype))
        for value in node.outputs
    ]
    copies.update(zip(node.outputs, outputs, strict=True))
    return ir.Node(
        node.domain, node.op_type, inputs, list(node.attributes.values()), outputs=outputs,
        name=node.name,
    )  # fmt: skip
