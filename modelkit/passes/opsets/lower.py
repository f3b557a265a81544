"""Write every node of a model in the form an older opset has for it."""

from modelkit.model import Model
from modelkit.model.walk import ONNX, graphs
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.opsets import older
from modelkit.passes.opsets.schemas import conform, refusal, schema
from modelkit.passes.opsets.site import Site


def lower(model: Model, version: int) -> None:
    """Rewrite ``model`` in place from its opset to the older ``version``; weights stay in place.

    A node whose meaning did not change is kept; one whose inputs became attributes, or whose axis
    was counted otherwise, is respelled.  Functions must have been inlined.

    Raises:
        Unsupported: a node has no such form; names it and says why.  The model is half converted.
    """
    current = model.opset_imports.get("") or model.opset_imports["ai.onnx"]
    infer_symbols(model)
    for graph in list(graphs(model)):
        waiting = [(node, current) for node in graph if node.domain in ONNX]
        while waiting:
            node, from_version = waiting.pop()
            site = Site(model, graph, node)
            later = _lower(site, from_version, version)
            waiting += [(made, later) for made in site.made]
    model.opset_imports.pop("ai.onnx", None)
    model.opset_imports[""] = version


def _lower(site: Site, current: int, version: int) -> int:
    """Lower one node; the opset that the nodes made beside it are written for."""
    node = site.node
    for since, rule in older.RULES.get(node.op_type, ()):
        if version < since <= current:
            before = node.op_type
            _conform(site, current, since)
            rule(site)
            if node.graph is None or site.made or node.op_type != before:
                if node.graph is not None:
                    site.made.append(node)
                return since - 1
            current = since - 1
    _conform(site, current, version)
    return version


def _conform(site: Site, current: int, version: int) -> None:
    node = site.node
    old = schema(node.op_type, current, deprecated=True)
    new = schema(node.op_type, version)
    if old is None:
        raise refusal(node, f"the operator is unknown in opset {current}")
    if new is None:
        raise refusal(node, f"the operator is newer than opset {version}")
    if old.since_version != new.since_version:
        conform(node, old, new)
