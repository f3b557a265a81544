"""How two models differ: signature, versions, nodes, attributes and weights."""

from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from modelkit.inspection.graph_text import attribute_text, typed
from modelkit.inspection.weights import dims_text, dtype_name, initializers
from modelkit.model import Model, nodes
from modelkit.model.tensors import raw
from modelkit.reports import Difference

_NONE = "-"


def differences(a: Model, b: Model) -> Iterator[Difference]:
    """Each thing that is not the same in both; weights are compared byte by byte."""
    yield from _mappings("version", _versions(a), _versions(b))
    for kind, one, two in (
        ("input", a.graph.inputs, b.graph.inputs),
        ("output", a.graph.outputs, b.graph.outputs),
    ):
        yield from _mappings(kind, _signature(one), _signature(two))
    yield from _nodes(a, b)
    yield from _weights(a, b)
    yield from _mappings("metadata", a.metadata_props, b.metadata_props)


def _versions(model: Model) -> dict[str, str]:
    found = {f"opset {name or 'ai.onnx'}": str(v) for name, v in model.graph.opset_imports.items()}
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    return found | {"IR": str(model.ir_version), "producer": producer}


def _signature(values: Sequence[ir.Value]) -> dict[str, str]:
    return {value.name or "": typed(value).partition(": ")[2] or "?" for value in values}


def _mappings(kind: str, a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Difference]:
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            yield Difference(kind, name, a.get(name, _NONE), b.get(name, _NONE))


def _nodes(a: Model, b: Model) -> Iterator[Difference]:
    """Nodes of one name, or without names of one first output, are the same node."""
    one, two = _keyed(a), _keyed(b)
    for key in dict.fromkeys([*one, *two]):
        here, there = one.get(key), two.get(key)
        if here is None or there is None:
            yield Difference(
                "node",
                key,
                here.op_type if here else _NONE,
                there.op_type if there else _NONE,
            )
            continue
        if (here.domain, here.op_type) != (there.domain, there.op_type):
            yield Difference("operator", key, _operator(here), _operator(there))
        if _inputs(here) != _inputs(there):
            yield Difference("inputs of", key, _inputs(here), _inputs(there))
        yield from (
            Difference("attribute", f"{key}.{each.name}", each.a, each.b)
            for each in _mappings("attribute", _attributes(here), _attributes(there))
        )


def _keyed(model: Model) -> dict[str, ir.Node]:
    found: dict[str, ir.Node] = {}
    for node in nodes(model):
        first = node.outputs[0].name if node.outputs else ""
        found.setdefault(node.name or first or "", node)
    return found


def _operator(node: ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _inputs(node: ir.Node) -> str:
    return ", ".join("_" if value is None else value.name or "" for value in node.inputs)


def _attributes(node: ir.Node) -> dict[str, str]:
    bodies = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return {
        name: attribute_text(attribute)
        for name, attribute in node.attributes.items()
        if attribute.type not in bodies
    }


def _weights(a: Model, b: Model) -> Iterator[Difference]:
    one, two = _tensors(a), _tensors(b)
    for name in dict.fromkeys([*one, *two]):
        here, there = one.get(name), two.get(name)
        if here is None or there is None or _described(here) != _described(there):
            yield Difference("weight", name, _described(here), _described(there))
        elif not _same(here, there):
            yield Difference("weight", name, _described(here), "other values")


def _tensors(model: Model) -> dict[str, ir.TensorProtocol]:
    return {
        value.name or "": value.const_value
        for value in initializers(model)
        if value.const_value is not None
    }


def _described(tensor: ir.TensorProtocol | None) -> str:
    return _NONE if tensor is None else f"{dtype_name(tensor.dtype)}{dims_text(tensor)}"


def _same(a: ir.TensorProtocol, b: ir.TensorProtocol) -> bool:
    if a.dtype == ir.DataType.STRING:
        return bool((a.numpy() == b.numpy()).all())
    return raw(a) == raw(b)
