"""Which layers of a graph are quantized statically, and which stay for which reason.

A linear layer is quantized at its input only: its result goes on in float, which keeps masks,
normalizations and residual sums exact.  A convolution is quantized at both ends, since ONNX
Runtime's integer kernel gives integers; what lies between convolutions (pools, sums, reshapes)
then works on the integers.  What is computed before the first layer stays in float, and so does
what makes a model output.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of
from modelkit.passes.surgery import is_onnx
from modelkit.quantize.embeddings import is_table
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.recurrent import RECURRENT, unfit
from modelkit.quantize.weights import array_of, is_weight, why_without

REASONS = {
    "ConvTranspose": "ONNX Runtime has no integer kernel for it",
    "Einsum": "it is no plain product with a matrix",
    "Attention": "its projections are inside the operator",
    "FusedMatMul": "a fused form; quantize before fusing",
    "Gemm": "its weight is not the second operand, or its activation is transposed",
}

_WORTHWHILE_PRODUCTS = 24  # for each result of a convolution
_STEM_PRODUCTS = 32  # 3x3 on an image: 1.06-1.25x for the whole net, measured on five
_STEM = "its few channels are faster in float; what it makes is in eight bits"
_IDLE = "it stands between float layers, and converting costs more than its few products save"

SAME = frozenset(
    ("MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "DepthToSpace",
     "SpaceToDepth")
)  # fmt: skip
"""Operators that only move values: what comes out has the scale of what went in."""

RANGED = frozenset(
    ("Add", "Sum", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Sigmoid", "LeakyRelu",
     "Relu", "Clip")
)  # fmt: skip
"""Operators with integer kernels that need a range of their own."""

WIDE = frozenset(("QuickGelu", "Swish", "HardSwish", "HardSigmoid", "Mish", "Elu", "Gelu", "Tanh"))
"""Activations without an integer kernel: float between integers, which keeps the chain whole."""

_DOMAINS = {"QuickGelu": ("com.microsoft",)}


@dataclass(eq=False)
class Layer:
    """A MatMul or Conv with constant weights; ``axis`` is that of output channels in them."""

    node: ir.Node
    axis: int

    @property
    def x(self) -> ir.Value:
        """The activation it reads now."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def weight(self) -> ir.Value:
        """The weights it reads now; steps before quantization replace them."""
        value = self.node.inputs[1]
        assert value is not None
        return value

    @property
    def is_conv(self) -> bool:
        """Whether both ends are quantized."""
        return self.node.op_type == "Conv"

    @property
    def name(self) -> str:
        """How reports call it."""
        return self.node.name or self.node.outputs[0].name or ""


@dataclass
class Plan:
    """What will be quantized: layers, the nodes between them, tables and recurrent layers.

    ``entries`` are computed in float, and their results become integers at once.
    """

    layers: list[Layer] = field(default_factory=list)
    between: list[ir.Node] = field(default_factory=list)
    tables: list[ir.Node] = field(default_factory=list)
    recurrent: list[ir.Node] = field(default_factory=list)
    entries: list[ir.Node] = field(default_factory=list)

    def tensors(self) -> list[str]:
        """Names of the values whose ranges are needed."""
        values = [layer.x for layer in self.layers]
        values += [settled(layer.node) for layer in self.layers if layer.is_conv]
        values += [settled(node) for node in self.between if node.op_type not in SAME]
        values += [settled(node) for node in self.entries]
        return list(dict.fromkeys(value.name for value in values if value.name))

    def integers(self) -> set[ir.Value]:
        """The values that come in eight bits from what makes them."""
        made = [layer.node for layer in self.layers if layer.is_conv]
        return {settled(node) for node in (*made, *self.between, *self.entries)}


def settled(node: ir.Node) -> ir.Value:
    """The value that is quantized behind ``node``: behind the Relu or Clip that is all its use."""
    follower = clamp_after(node)
    return node.outputs[0] if follower is None else follower.outputs[0]


def clamp_after(node: ir.Node) -> ir.Node | None:
    """The only reader of a Conv or sum, if it is a Relu or a Clip that starts at 0."""
    output = node.outputs[0]
    readers = list(output.uses())
    if node.op_type not in ("Conv", "Add", "Sum") or len(readers) != 1 or output.is_graph_output():
        return None
    reader = readers[0][0]
    if reader.graph is not node.graph:
        return None
    if is_onnx(reader, "Relu"):
        return reader
    low = const_of(reader.inputs[1]) if len(reader.inputs) > 1 else None
    return reader if is_onnx(reader, "Clip") and low is not None and float(low) == 0.0 else None


def make_plan(
    model: Model,
    outcome: Outcome,
    *,
    exclude: Sequence[re.Pattern[str]] = (),
    exclude_op: Sequence[str] = (),
    keep: frozenset[str] = frozenset(),
    float_stems: bool = False,
) -> Plan:
    """Choose the layers of ``model``, whose linear layers are normalized, and note the others.

    ``keep`` are names of layers that stay in float because they lose too much.  With
    ``float_stems`` so do convolutions of few channels at the entry of a chain of integers.
    """
    plan = Plan()
    for node in model.graph:
        weights = [value for value in node.inputs if is_weight(value)]
        known = node.op_type in ("MatMul", "Conv", "Gather", *RECURRENT, *REASONS)
        if known and not weights and (lacking := why_without(node)) is not None:
            outcome.candidates += 1
            outcome.skip(node, lacking)
        if not weights or not known or (node.op_type == "Gather" and not is_table(node.inputs[0])):
            continue
        outcome.candidates += 1
        name = node.name or ""
        reason: str | None
        if node.op_type in exclude_op or any(pattern.search(name) for pattern in exclude):
            reason = "excluded by option"
        elif name in keep:
            reason = "it loses too much accuracy in eight bits"
        else:
            reason = _add(node, plan)
        if reason is not None:
            outcome.skip(node, reason)
    plan.between = _between(model, plan, exclude, exclude_op)
    if float_stems:
        for layer in _take_stems(plan):
            outcome.skip(layer.node, _STEM)
        plan.between = _between(model, plan, exclude, exclude_op)
    for layer in [layer for layer in plan.layers if layer.is_conv and _is_idle(layer, plan)]:
        plan.layers.remove(layer)
        outcome.skip(layer.node, _IDLE)
    outcome.quantized += len(plan.layers) + len(plan.tables) + len(plan.recurrent)
    return plan


def _add(node: ir.Node, plan: Plan) -> str | None:
    """Put ``node`` into the plan, or say why not."""
    if node.op_type in REASONS:
        return REASONS[node.op_type]
    if node.op_type in RECURRENT:
        reason = unfit(node)
        if reason is None:
            plan.recurrent.append(node)
        return reason
    if any(not np.isfinite(array_of(value)).all() for value in node.inputs if is_weight(value)):
        return "its weights hold NaN or infinity"
    first, second = node.inputs[0], node.inputs[1]
    assert first is not None
    assert second is not None
    if node.op_type == "Gather":
        if len(array_of(first).shape) != 2 or (node.attributes.get_int("axis", 0) or 0) % 2:
            return "its table is not indexed by rows"
        plan.tables.append(node)
        return None
    reason = _unfit(node, first, second)
    if reason is None:
        plan.layers.append(Layer(node, 1 if node.op_type == "MatMul" else 0))
    return reason


def _unfit(node: ir.Node, x: ir.Value, weight: ir.Value) -> str | None:
    if is_weight(x) or not is_weight(weight):
        return "its weight is not the second operand"
    if weight.dtype != ir.DataType.FLOAT or x.dtype not in (None, ir.DataType.FLOAT):
        return f"it computes in {weight.dtype.name.lower() if weight.dtype else 'an unknown type'}"
    assert weight.shape is not None
    if node.op_type == "MatMul":
        if len(weight.shape) != 2:
            return "its weight is a stack of matrices; --dynamic fits it"
        if x.shape is not None and len(x.shape) < 2:
            return "its activation is a vector"
        return None
    if len(node.inputs) > 2 and node.inputs[2] is not None and const_of(node.inputs[2]) is None:
        return "its bias is not constant"
    if settled(node).is_graph_output():
        return "it makes a model output, which stays exact"
    return None


def _take_stems(plan: Plan) -> list[Layer]:
    """Make entries of convolutions that read float and are faster on it; those taken.

    None where no other convolution is left, which the integers would be for.
    """
    integers, between = plan.integers(), set(plan.between)
    wanted = {layer.x for layer in plan.layers}
    wanted |= {value for node in plan.between for value in node.inputs if value is not None}
    taken, entries = [], []
    for layer in plan.layers:
        array = layer.weight.const_value
        if not layer.is_conv or array is None or layer.x in integers:
            continue
        made = settled(layer.node)
        if array.size >= _STEM_PRODUCTS * array.shape.numpy()[0] or made not in wanted:
            continue
        readers = [user for user, _ in made.uses()]
        behind = readers[0] if len(readers) == 1 else None
        activated = behind is not None and behind in between and behind.op_type in WIDE
        entries.append(behind if activated and behind is not None else layer.node)
        taken.append(layer)
    if not any(layer.is_conv and layer not in taken for layer in plan.layers):
        return []
    plan.entries = entries
    plan.layers = [layer for layer in plan.layers if layer not in taken]
    return taken


def _is_idle(layer: Layer, plan: Plan) -> bool:
    """Whether a convolution between float layers has so few products that converting costs more."""
    array = layer.weight.const_value
    if array is None or array.size >= _WORTHWHILE_PRODUCTS * array.shape.numpy()[0]:
        return False
    wanted = {other.x for other in plan.layers} | {
        value for node in plan.between for value in node.inputs if value is not None
    }
    return settled(layer.node) not in wanted


def _between(
    model: Model, plan: Plan, exclude: Sequence[re.Pattern[str]], exclude_op: Sequence[str]
) -> list[ir.Node]:
    """Nodes all of whose data comes from integers and some of whose readers want integers."""
    ends = [layer.node for layer in plan.layers if layer.is_conv] + plan.entries
    integers, absorbed = {settled(node) for node in ends}, {clamp_after(node) for node in ends}
    found: list[ir.Node] = []
    for node in model.graph:
        if (
            node in absorbed
            or node in plan.entries
            or node.domain not in _DOMAINS.get(node.op_type, ("", "ai.onnx"))
        ):
            continue
        data = node.inputs if node.op_type in ("Add", "Sum", "Mul", "Concat") else node.inputs[:1]
        if (
            node.op_type in SAME | RANGED | WIDE
            and (node.op_type != "Sum" or len(node.inputs) == 2)
            and node.op_type not in exclude_op
            and not any(pattern.search(node.name or "") for pattern in exclude)
            and len(node.outputs) == 1
            and not settled(node).is_graph_output()
            and data
            and all(value in integers for value in data)
        ):
            found.append(node)
            integers.add(settled(node))
            absorbed.add(clamp_after(node))
    wanted = {layer.x for layer in plan.layers}
    kept = []
    for node in reversed(found):
        if settled(node) in wanted:
            kept.append(node)
            wanted.update(value for value in node.inputs if value is not None)
    return kept[::-1]
