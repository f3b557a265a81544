"""Nodes held against the ONNX specification: unknown operators, attributes, missing inputs."""

from collections import Counter
from collections.abc import Iterator

import onnx
import onnx_ir as ir

from modelkit.model import Model, nodes
from modelkit.safe import safe

_WITHOUT_KERNEL = ("Constant",)  # a constant is folded when the session opens
_STANDARD = ("", "ai.onnx", "ai.onnx.ml")


def schema_findings(model: Model) -> Iterator[str]:
    """What breaks a schema, a line each with how often and where first."""
    own = {(domain, name) for domain, name, _ in model.functions}
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    for node in nodes(model):
        if node.domain not in _STANDARD or (node.domain, node.op_type) in own:
            continue
        for text in _findings(node, _version(model, node.domain)):
            found[text] += 1
            first.setdefault(text, node.name or "")
    for text, count in found.items():
        times = "" if count == 1 else f", {count} times"
        yield f"{text}{times}, at '{safe(first[text], 80)}'"


def kernel_findings(model: Model) -> Iterator[str]:
    """Standard operators that the installed ONNX Runtime cannot run; nothing if there is none."""
    from modelkit.errors import Unsupported

    try:
        from modelkit.runtime.kernels import has_kernel
    except (Unsupported, ModuleNotFoundError):
        return
    own = {(domain, name) for domain, name, _ in model.functions}
    missing: Counter[str] = Counter()
    for node in nodes(model):
        schema = _schema(node, _version(model, node.domain))
        if schema is None or (node.domain, node.op_type) in own or node.op_type in _WITHOUT_KERNEL:
            continue
        expands = schema.has_function or schema.has_context_dependent_function
        if not expands and not has_kernel(node.domain, node.op_type, schema.since_version):
            missing[f"{node.op_type} (opset {schema.since_version})"] += 1
    for name, count in missing.items():
        yield f"the installed ONNX Runtime has no kernel for {safe(name, 80)}: {count} nodes"


def _findings(node: ir.Node, version: int) -> Iterator[str]:
    op = safe(node.op_type, 60)
    schema = _schema(node, version)
    if schema is None:
        yield f"{op} is no operator of opset {version}"
        return
    given = len(node.inputs)
    if not schema.min_input <= given <= schema.max_input:
        yield f"{op} has {given} inputs, the specification {schema.min_input}-{schema.max_input}"
    unknown = [name for name in node.attributes if name not in schema.attributes]
    if unknown:
        yield f"{op} has an attribute '{safe(unknown[0], 40)}' the specification does not know"
    missing = [
        name
        for name, attribute in schema.attributes.items()
        if attribute.required and name not in node.attributes
    ]
    if missing:
        yield f"{op} lacks its attribute '{safe(missing[0], 40)}'"


def _version(model: Model, domain: str) -> int:
    imports = model.graph.opset_imports
    return imports.get(domain) or (imports.get("ai.onnx") if domain == "" else None) or 1


def _schema(node: ir.Node, version: int) -> "onnx.defs.OpSchema | None":
    domain = "" if node.domain == "ai.onnx" else node.domain
    if domain not in _STANDARD:
        return None
    try:
        return onnx.defs.get_schema(node.op_type, version, domain)
    except (onnx.defs.SchemaError, ValueError):
        return None
