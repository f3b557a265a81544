"""Is this graph legal?  SSA, unique, acyclic, scoped, typed: what each library checks half of.

ONNX Runtime accepts two initializers of one name and onnx's checker accepts much that no runtime
runs; so both before a model is touched and before it is written, this must hold (ONNX IR
specification, "Graphs" and "Names Within a Graph").
"""

from collections.abc import Iterable, Iterator

import onnx
import onnx_ir as ir

from modelkit.errors import BadInput
from modelkit.safe import safe

EXPANDED_LIMIT = 5_000_000
"""Most nodes a model may have once its functions are expanded (a 3 KB file can ask for 2^30)."""

Function = tuple[str, str, str]


def check_proto(model: onnx.ModelProto, where: str) -> None:
    """Refuse what would be lost, or hang, when the proto becomes a graph.

    Raises:
        BadInput: no graph, an opset imported twice, duplicate initializers or functions, a
            negative dimension, recursive functions, or too many nodes after expansion.
    """
    if not model.HasField("graph") or not model.opset_import:
        raise BadInput(f"{where} is not an ONNX model", cause="it has no graph or no opset")
    _once((o.domain for o in model.opset_import), "opset domain", where)
    _once((f"{f.domain}:{f.name}:{f.overload}" for f in model.functions), "function", where)
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        sparse = (t.values.name for t in graph.sparse_initializer)
        _once((*(t.name for t in graph.initializer), *sparse), "initializer", where)
        made = (name for node in graph.node for name in node.output if name)
        _once(made, "a value called", where)
        for tensor in graph.initializer:
            _check_dims(tensor, where)
        graphs += _subgraphs(graph.node)
    _check_expansion(model, where)


def tensors(model: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, bool]]:
    """Every tensor, of subgraphs, attributes and functions too, and whether it is sparse."""
    graphs: list[onnx.GraphProto] = [model.graph]
    node_lists: list[Iterable[onnx.NodeProto]] = [function.node for function in model.functions]
    while graphs or node_lists:
        if graphs:
            graph = graphs.pop()
            yield from ((tensor, False) for tensor in graph.initializer)
            for sparse in graph.sparse_initializer:
                yield sparse.values, True
                yield sparse.indices, True
            node_lists.append(graph.node)
            continue
        for node in node_lists.pop():
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t, False
                yield from ((tensor, False) for tensor in attribute.tensors)
                if attribute.HasField("sparse_tensor"):
                    yield attribute.sparse_tensor.values, True
                    yield attribute.sparse_tensor.indices, True
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
                graphs += attribute.graphs


def validate(model: ir.Model) -> None:
    """Check the graph, its subgraphs and functions.

    Raises:
        BadInput: a value without a name or produced twice, one read before it is produced or
            not in scope, an output nobody produces, or an operator of a domain not imported.
    """
    _check_block(model.graph, set(), set(model.graph.opset_imports), "the graph")
    for function in model.functions.values():
        where = f"function '{safe(function.name)}'"
        _check_block(function, set(), set(function.opset_imports), where)


def _check_block(
    block: ir.Graph | ir.Function, outer: set[ir.Value], domains: set[str], where: str
) -> None:
    names: dict[str, ir.Value] = {}
    known = set(outer)

    def define(value: ir.Value, by: str) -> None:
        if not value.name:
            raise BadInput(f"{by} in {where} has an unnamed value", code="invalid-graph")
        if names.setdefault(value.name, value) is not value:
            raise BadInput(
                f"value '{safe(value.name)}' is defined twice in {where}", code="invalid-graph"
            )
        known.add(value)

    for value in block.inputs:
        define(value, "an input")
    if isinstance(block, ir.Graph):
        for value in block.initializers.values():
            define(value, "an initializer")
    for node in block:
        _check_node(node, known, domains, where)
        for output in node.outputs:
            if output.name:
                define(output, f"{node.op_type} '{safe(node.name or '')}'")
    for value in block.outputs:
        if value not in known:
            raise BadInput(
                f"output '{safe(value.name or '')}' of {where} is never produced",
                code="invalid-graph",
            )


def _check_node(node: ir.Node, known: set[ir.Value], domains: set[str], where: str) -> None:
    title = f"{safe(node.op_type)} '{safe(node.name or '')}' in {where}"
    if node.domain not in domains:
        raise BadInput(
            f"{title} is of domain '{safe(node.domain)}', which the model does not import",
            code="invalid-graph",
        )
    for value in node.inputs:
        if value is not None and value not in known:
            raise BadInput(
                f"{title} reads '{safe(value.name or '')}' before anything produces it",
                hint="the graph has a cycle, a wrong order, or lacks a node",
                code="invalid-graph",
            )
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            _check_block(attribute.as_graph(), known, domains, f"the body of {title}")
        elif attribute.type == ir.AttributeType.GRAPHS:
            for graph in attribute.as_graphs():
                _check_block(graph, known, domains, f"a body of {title}")


def _once(names: Iterable[str], what: str, where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadInput(
                f"{where} has {what} '{safe(name)}' more than once", code="invalid-graph"
            )
        seen.add(name)


def _check_dims(tensor: onnx.TensorProto, where: str) -> None:
    if any(dim < 0 for dim in tensor.dims):
        raise BadInput(
            f"initializer '{safe(tensor.name)}' of {where} has a negative dimension",
            code="invalid-graph",
        )


def _subgraphs(nodes: Iterable[onnx.NodeProto]) -> list[onnx.GraphProto]:
    found: list[onnx.GraphProto] = []
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.append(attribute.g)
            found += attribute.graphs
    return found


def _check_expansion(model: onnx.ModelProto, where: str) -> None:
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    if not functions:
        return
    sizes: dict[Function, int] = {}
    open_now: set[Function] = set()

    def size(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            total += of_function(key) if key in functions else 1
            total += sum(size(graph.node) for graph in _subgraphs([node]))
        return min(total, EXPANDED_LIMIT + 1)

    def of_function(key: Function) -> int:
        if key in open_now:
            raise BadInput(f"function '{safe(key[1])}' of {where} calls itself")
        if key not in sizes:
            open_now.add(key)
            sizes[key] = size(functions[key].node)
            open_now.remove(key)
        return sizes[key]

    if max(size(model.graph.node), *map(of_function, functions)) > EXPANDED_LIMIT:
        raise BadInput(
            f"{where} grows beyond {EXPANDED_LIMIT:,} nodes when its functions are expanded",
            code="too-large",
        )
