"""Raise an opset where operators only took more types or more options since."""

import onnx
import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import ONNX, graphs
from modelkit.passes.opsets.schemas import default, schema
from modelkit.passes.surgery import attribute

OLDEST = 11

# Their text changed, or what they do without a new attribute, but not their signature.
_CHANGED = frozenset(("GroupNormalization", "RoiAlign", "Scan", "Upsample"))


def widened(model: Model, version: int) -> bool:
    """Set the opset to ``version`` if every operator means there what it does now.

    Judged by the schemas: the same inputs and outputs and attributes with the same defaults, or
    more of them, all optional.  False, and nothing changed, where one operator has to be rewritten.
    """
    current = model.opset_imports[""]
    if current < OLDEST:
        return False
    for graph in graphs(model):
        for node in graph:
            if node.domain in ONNX and not _keeps(node, current, version):
                return False
    model.graph.opset_imports[""] = version
    for graph in graphs(model):
        graph.opset_imports[""] = version
        for node in graph:
            if node.domain in ONNX:
                node.version = None
    return True


def _keeps(node: ir.Node, current: int, version: int) -> bool:
    old, new = schema(node.op_type, current), schema(node.op_type, version)
    if old is None or new is None:
        return False
    if old.since_version == new.since_version:
        return True
    if node.op_type in _CHANGED or not _contains(old, new):
        return False
    if node.op_type == "Split":
        # Without sizes the number of parts has to be said since opset 18.
        return len(node.inputs) > 1 or "num_outputs" in node.attributes
    if node.op_type in ("AveragePool", "LpPool"):
        return not attribute(node, "ceil_mode", 0)
    return True


def _contains(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> bool:
    """Whether every use of ``old`` is one of ``new``."""
    for before, after in ((old.inputs, new.inputs), (old.outputs, new.outputs)):
        if [part.name for part in before] != [part.name for part in after[: len(before)]]:
            return False
        if any(part.option.name == "Single" for part in after[len(before) :]):
            return False
    for name, spec in new.attributes.items():
        earlier = old.attributes.get(name)
        if earlier is None and spec.required:
            return False
        if earlier is not None and (earlier.type, default(earlier)) != (spec.type, default(spec)):
            return False
    return set(old.attributes) <= set(new.attributes)
