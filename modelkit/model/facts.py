"""A model in one line: sizes, operators, and the oldest runtime that opens it."""

from collections import Counter
from itertools import chain
from pathlib import Path

import onnx_ir as ir

from modelkit.model.tensors import MappedTensor
from modelkit.model.walk import OURS, inside, nested
from modelkit.reports import FileFacts

# Newest ai.onnx opset and IR version that each ONNX Runtime release opens.
# Source: onnxruntime.ai/docs/reference/compatibility.html, onnx docs/Versioning.md.
RUNTIMES = (
    ("1.8", 14, 7),
    ("1.10", 15, 8),
    ("1.12", 17, 8),
    ("1.14", 18, 8),
    ("1.15", 19, 9),
    ("1.17", 20, 9),
    ("1.18", 21, 10),
    ("1.20", 22, 10),
    ("1.22", 23, 11),
    ("1.24", 24, 12),
    ("1.31", 26, 13),
)


def facts(model: ir.Model, path: Path) -> FileFacts:
    """Describe ``model``, which lies at ``path``."""
    operators = operator_counts(model)
    standard = model.graph.opset_imports.get("", model.graph.opset_imports.get("ai.onnx", 0))
    return FileFacts(
        path=str(path),
        bytes=_bytes_on_disk(model, path),
        nodes=sum(operators.values()),
        parameters=sum(
            value.const_value.size
            for graph in nested(model.graph)
            for value in graph.initializers.values()
            if value.const_value is not None
        ),
        opset=dict(model.graph.opset_imports),
        ir_version=model.ir_version,
        contrib={name: number for name, number in operators.items() if "." in name},
        lowest_runtime=lowest_runtime(standard, model.ir_version),
    )


def operator_counts(model: ir.Model) -> dict[str, int]:
    """Nodes by ``OpType``, or ``domain.OpType`` outside ai.onnx, most frequent first.

    Those in functions count once, whoever calls them; a call of modelkit's own is one operator.
    """
    counts: Counter[str] = Counter()
    functions = [each for each in model.functions.values() if each.domain != OURS]
    for node in chain(inside(model.graph), *map(inside, functions)):
        domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
        counts[f"{domain}{node.op_type}"] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def lowest_runtime(opset: int, ir_version: int) -> str:
    """The oldest ONNX Runtime release that opens this opset and IR version; "" if none known."""
    for release, newest_opset, newest_ir in RUNTIMES:
        if opset <= newest_opset and ir_version <= newest_ir:
            return release
    return ""


def newest_of(major: int, minor: int) -> tuple[int, int] | None:
    """The newest opset and IR version that this ONNX Runtime release opens; None: older than all.

    A release between two of the table opens what the older of them does.
    """
    found = None
    for release, opset, ir_version in RUNTIMES:
        if tuple(map(int, release.split("."))) <= (major, minor):
            found = opset, ir_version
    return found


def _bytes_on_disk(model: ir.Model, path: Path) -> int:
    files = {path.resolve()} | {
        value.const_value.path.resolve()
        for graph in nested(model.graph)
        for value in graph.initializers.values()
        if isinstance(value.const_value, MappedTensor)
    }
    return sum(file.stat().st_size for file in files if file.is_file())
