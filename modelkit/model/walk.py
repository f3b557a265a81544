"""Visit every graph and node of a model: one visit a node costs what a loop costs."""

from collections.abc import Iterable, Iterator

import onnx_ir as ir

ONNX = ("", "ai.onnx")
OURS = "modelkit"
"""The domain of the functions that fusions write, each of which stands for an operator."""
CARRIERS = frozenset(("If", "Loop", "Scan", "SequenceMap"))
"""The operators of the ONNX domain that have graphs as attributes."""


def graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph, every function's graph, and every body nested in them, outer first."""
    yield from nested(model.graph)
    for function in model.functions.values():
        yield from nested(function.graph)


def nested(graph: ir.Graph) -> Iterator[ir.Graph]:
    """``graph`` and every body inside it, outer first."""
    waiting = [graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph:
            if node.op_type in CARRIERS or node.domain not in ONNX:
                waiting.extend(bodies(node))


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs a node carries in its attributes."""
    if node.op_type not in CARRIERS and node.domain in ONNX:
        return
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH and not attribute.is_ref():
            yield attribute.as_graph()
        elif attribute.type is ir.AttributeType.GRAPHS and not attribute.is_ref():
            yield from attribute.as_graphs()


def inside(block: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """Every node of a graph or function, the nodes of a body right after the one that holds it."""
    for node in block:
        yield node
        if node.op_type in CARRIERS or node.domain not in ONNX:
            for body in bodies(node):
                yield from inside(body)


def nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Every node: of the graph, of its bodies, and of the functions."""
    yield from inside(model.graph)
    for function in model.functions.values():
        yield from inside(function)
