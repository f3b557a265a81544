"""What is odd about a model, a line each."""

import hashlib
from collections.abc import Iterator, Sequence
from importlib import metadata

import numpy as np
import onnx_ir as ir

from modelkit.inspection.schemas import kernel_findings, schema_findings
from modelkit.inspection.weights import Named, initializers, size
from modelkit.model import Model, clone, nodes
from modelkit.model.facts import RUNTIMES
from modelkit.passes.flush_denormals import SMALLEST, tiny_weights
from modelkit.passes.keep_paddings import keep_paddings, pools_paddings
from modelkit.reports import FileFacts
from modelkit.safe import safe

_SMALL = 1 << 16  # constants up to this many bytes are read for the lint
_LOOKED_AT = 1 << 14  # numbers at the front of each weight
_READ_IN_ALL = 1 << 26  # and no more than this, so that a model of many stays instant
_STANDARD = ("", "ai.onnx", "ai.onnx.ml")
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")


def lint_findings(model: Model, file: FileFacts, tensors: Sequence[Named]) -> Iterator[str]:
    """What is odd about the model, a line each; the line counts and names the first."""
    yield from _too_new(file)
    yield from _unread(model)
    yield from _odd_values(tensors)
    unnamed = sum(not node.name for node in nodes(model))
    if unnamed:
        what = "1 node has" if unnamed == 1 else f"{unnamed} nodes have"
        yield f"{what} no name, so that errors and reports cannot point at them"
    own = {identifier[0] for identifier in model.functions}
    yield from schema_findings(model)
    yield from kernel_findings(model)
    yield from _misread(model)
    yield from _slow_weights(model)
    foreign = sorted({node.domain for node in nodes(model)} - {*_STANDARD, *own})
    if foreign:
        yield f"needs a runtime with operators of {', '.join(safe(name, 60) for name in foreign)}"


def _misread(model: Model) -> Iterator[str]:
    """Paddings that ONNX Runtime takes for something else."""
    count = keep_paddings(clone(model)).count if pools_paddings(model) else 0
    if count:
        what = "1 padding by zero stands" if count == 1 else f"{count} paddings by zero stand"
        yield f"{what} before a pooling, where ONNX Runtime gets wrong numbers; optimize mends it"


def _slow_weights(model: Model) -> Iterator[str]:
    found = [value.name for value in tiny_weights(model, most=_LOOKED_AT)]
    if found:
        what = "1 weight tensor holds" if len(found) == 1 else f"{len(found)} weight tensors hold"
        what = f"{what} numbers below 2**{SMALLEST}, as {_quoted(found[0])}"
        yield f"{what}: denormal numbers are slow on CPUs; optimize sets them to zero"


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
        value for value in initializers(model) if not value.uses() and not value.is_graph_output()
    ]
    if unused:
        total = sum(size(value.const_value) for value in unused if value.const_value is not None)
        name = _quoted(unused[0].name)
        yield f"{len(unused)} initializers nobody reads ({total:,} bytes), as {name}"
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
