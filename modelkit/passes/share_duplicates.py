"""Compute equal things once."""

from collections import defaultdict
from collections.abc import Hashable

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import bodies, graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import drop, is_random, replace

SMALL_BYTES = 256


def share_duplicates(model: Model) -> Changes:
    """Keep one of several nodes with the same operator, inputs and attributes.

    Random operators and those with bodies are never merged; of two graph outputs both stay.
    """
    count = 0
    for graph in list(graphs(model)):
        # Attributes are read only where operator and inputs agree: most nodes stop here.
        alike: dict[Hashable, list[ir.Node]] = defaultdict(list)
        for node in graph:
            twins = alike[_coarse(node)]
            twin = next((other for other in twins if _equal(other, node)), None)
            if twin is None:
                twins.append(node)
            elif _merge(node, twin):
                count += 1
    return Changes(count)


def _coarse(node: ir.Node) -> Hashable:
    return (node.domain, node.op_type, node.overload, tuple(map(id, node.inputs)))


def _equal(a: ir.Node, b: ir.Node) -> bool:
    if len(a.outputs) != len(b.outputs) or a.attributes.keys() != b.attributes.keys():
        return False
    if any(bool(x.name) != bool(y.name) for x, y in zip(a.outputs, b.outputs, strict=True)):
        return False
    return (
        all(_same(value, b.attributes[name]) for name, value in a.attributes.items())
        and not is_random(a)
        and not any(True for _ in bodies(a))
    )


def _same(a: ir.Attr, b: ir.Attr) -> bool:
    if a.type is not b.type or a.is_ref() or b.is_ref():
        return a.is_ref() and b.is_ref() and a.ref_attr_name == b.ref_attr_name
    if a.type is ir.AttributeType.TENSOR:
        x, y = a.as_tensor(), b.as_tensor()
        if x.dtype != y.dtype or tuple(x.shape) != tuple(y.shape) or x.nbytes > SMALL_BYTES:
            return x is y
        return x.tobytes() == y.tobytes()
    return bool(a.value == b.value)


def _merge(node: ir.Node, twin: ir.Node) -> bool:
    if any(old.is_graph_output() for old in node.outputs) and (
        len(node.outputs) > 1 or twin.outputs[0].is_graph_output()
    ):
        return False
    if not all(replace(o, n) for o, n in zip(node.outputs, twin.outputs, strict=True)):
        return False
    drop(node)
    return True
