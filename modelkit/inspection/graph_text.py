"""A graph as lines of text, a node a line, bodies indented."""

from collections.abc import Iterator

import onnx_ir as ir

from modelkit.inspection.weights import dtype_name
from modelkit.model import Model
from modelkit.safe import safe

_LONGEST = 80
_ITEMS = 8


def graph_lines(model: Model) -> list[str]:
    """The inputs, weights, nodes and outputs of ``model``, then those of its functions."""
    found = list(_graph(model.graph, model.graph.name or "graph", 0))
    for function in model.functions.values():
        title = f"function {function.domain}.{function.name}"
        found += ["", *_graph(function.graph, title, 0)]
    return found


def _graph(graph: ir.Graph, title: str, depth: int) -> Iterator[str]:
    pad = "  " * depth
    inputs = ", ".join(typed(value) for value in graph.inputs)
    yield f"{pad}{safe(title, _LONGEST)}({inputs}) {{"
    for value in graph.initializers.values():
        yield f"{pad}  weight {typed(value)}"
    for node in graph:
        yield from _node(node, depth + 1)
    outputs = ", ".join(typed(value) for value in graph.outputs)
    yield f"{pad}}} -> ({outputs})"


def _node(node: ir.Node, depth: int) -> Iterator[str]:
    pad = "  " * depth
    outputs = ", ".join(typed(value) for value in node.outputs)
    inputs = ", ".join(
        "_" if v is None else f"%{safe(v.name or '', _LONGEST)}" for v in node.inputs
    )
    domain = f"{safe(node.domain, 40)}." if node.domain not in ("", "ai.onnx") else ""
    plain, bodies = [], []
    for name, attribute in node.attributes.items():
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            bodies.append((name, attribute))
        else:
            plain.append(f"{safe(name, 40)}={attribute_text(attribute)}")
    told = f" <{', '.join(plain)}>" if plain else ""
    name = f"  # {safe(node.name, _LONGEST)}" if node.name else ""
    yield f"{pad}{outputs} = {domain}{safe(node.op_type, 60)}({inputs}){told}{name}"
    for name, attribute in bodies:
        single = attribute.type == ir.AttributeType.GRAPH
        for graph in [attribute.as_graph()] if single else attribute.as_graphs():
            yield from _graph(graph, name, depth + 1)


def typed(value: ir.Value) -> str:
    """``%name: type[dims]``, as far as it is known."""
    name = f"%{safe(value.name or '', _LONGEST)}"
    if value.dtype is None:
        return name
    if value.shape is None:
        return f"{name}: {dtype_name(value.dtype)}"
    dims = ",".join(safe(str(d if isinstance(d, int) else d.value or "?"), 30) for d in value.shape)
    return f"{name}: {dtype_name(value.dtype)}[{dims}]"


def attribute_text(attribute: ir.Attr) -> str:
    """The value of an attribute that is no graph, long ones cut."""
    if attribute.is_ref():
        return f"@{safe(attribute.ref_attr_name or '', 40)}"
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        dims = ",".join(map(str, tensor.shape.numpy()))
        head = f"{dtype_name(tensor.dtype)}[{dims}]"
        if tensor.dtype == ir.DataType.STRING or tensor.size > _ITEMS:
            return head
        return f"{head} {tensor.numpy().reshape(-1).tolist()}"
    value = attribute.value
    if isinstance(value, list | tuple) and len(value) > _ITEMS:
        return f"[{', '.join(map(str, value[:_ITEMS]))}, ... {len(value)} items]"
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return safe(text, _LONGEST)
