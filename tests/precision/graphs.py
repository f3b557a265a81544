"""Graphs in text, prepared as the conversion sees them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from modelkit.model import load
from modelkit.precision.narrow import HALVES
from modelkit.precision.prepare import prepared
from modelkit.precision.rules import Keep, Subject, apply_rules
from modelkit.precision.slots import all_slots
from tests.models import model_file

FP16, BF16 = HALVES["fp16"], HALVES["bf16"]


def graph(text: str, half: ir.DataType = FP16, opset: int = 17, seed: int = 0) -> ir.Model:
    """``text`` is what follows the header: inputs and outputs, weights, body."""
    head = f'<ir_version: 9, opset_import: ["": {opset}, "com.microsoft": 1]> g '
    with TemporaryDirectory() as folder:
        model = prepared(load(model_file(Path(folder) / "m.onnx", head + text, seed)), half)
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            # Out of the mapped file, which is gone when this returns.
            value.const_value = ir.tensor(value.const_value.numpy().copy(), name=value.name)
        return model


def kept(text: str, half: ir.DataType = FP16, opset: int = 17) -> dict[str, str]:
    """Names of outputs of the nodes that the rules keep in float, and why."""
    model = graph(text, half, opset)
    keep: Keep = {}
    apply_rules(Subject(model, half, all_slots(model, half), keep=keep))
    return {node.outputs[0].name or "": reason for node, reason in keep.items()}


def node(model: ir.Model, output: str) -> ir.Node:
    """The node that makes the value called ``output``."""
    return next(n for n in model.graph.all_nodes() if any(v.name == output for v in n.outputs))
