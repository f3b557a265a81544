"""From which axis of each operand an axis of a result comes."""

from collections.abc import Callable, Sequence

import onnx_ir as ir

from modelkit.model.walk import ONNX
from modelkit.passes.surgery import attribute, ints, is_random, rank, same_dims

MICROSOFT = "com.microsoft"

Sources = tuple[int | None, ...]
"""For each operand its axis; None where it is the same for every place of the axis."""


def axis_sources(node: ir.Node, axis: int, opset: int) -> Sources | None:
    """Where ``axis`` of the first result comes from, given that places along it do not mix.

    Taking some places of the result then equals taking the same places of the operands; all results
    have the axis at the same place.  None where that is not certain: another operator, a shape
    that is not known, an axis that is computed over, a result that is of another rank.
    """
    domain = "" if node.domain in ONNX else node.domain
    rule = _RULES.get((domain, node.op_type))
    result = node.outputs[0].shape
    if rule is None or result is None or not node.inputs or is_random(node):
        return None
    return rule(node, axis, opset)


def _shape(node: ir.Node, place: int) -> list[int | ir.SymbolicDim] | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    return None if value is None or value.shape is None else list(value.shape)


def _only(node: ir.Node, axis: int | None, place: int = 0) -> Sources:
    """The axis comes from one operand; the others hold for every place."""
    return tuple(axis if each == place else None for each in range(len(node.inputs)))


def _nth(node: ir.Node, order: Sequence[int], axis: int) -> Sources | None:
    return _only(node, int(order[axis])) if axis < len(order) else None


def _broadcast(node: ir.Node, axis: int, opset: int) -> Sources | None:
    result = node.outputs[0].shape
    assert result is not None
    found: list[int | None] = []
    for place, value in enumerate(node.inputs):
        shape = _shape(node, place)
        if value is None:
            found.append(None)
            continue
        if shape is None:
            return None
        own = axis - len(result) + len(shape)
        if own < 0 or shape[own] == 1:
            found.append(None)
        elif same_dims([shape[own]], [result[axis]]):
            found.append(own)
        else:
            return None
    return tuple(found)


def _before(name: str, default: int) -> Callable[[ir.Node, int, int], Sources | None]:
    """Computed over the axes from attribute ``name`` on; what else is read belongs to those."""

    def rule(node: ir.Node, axis: int, opset: int) -> Sources | None:
        length = rank(node.inputs[0])
        if length is None:
            return None
        first = int(attribute(node, name, default)) % length
        if axis >= first:
            return None
        parameters = (rank(value) for value in node.inputs[1:] if value is not None)
        if any(each is None or each > length - first for each in parameters):
            return None
        return _only(node, axis)

    return rule


def _skip_norm(node: ir.Node, axis: int, opset: int) -> Sources | None:
    first, second = _shape(node, 0), _shape(node, 1)
    if first is None or second is None or not same_dims(first, second) or axis >= len(first) - 1:
        return None
    return (axis, axis, *(None for _ in node.inputs[2:]))


def _softmax(node: ir.Node, axis: int, opset: int) -> Sources | None:
    length = rank(node.inputs[0])
    if length is None:
        return None
    over = int(attribute(node, "axis", -1 if opset >= 13 else 1)) % length
    mixes = axis == over if opset >= 13 else axis >= over
    return None if mixes else _only(node, axis)


def _reduce(node: ir.Node, axis: int, opset: int) -> Sources | None:
    length, axes = rank(node.inputs[0]), ints(node, 1, "axes")
    if length is None or not axes:
        return None
    over = {each % length for each in axes}
    if attribute(node, "keepdims", 1):
        return None if axis in over else _only(node, axis)
    return _nth(node, [each for each in range(length) if each not in over], axis)


def _quantize(node: ir.Node, axis: int, opset: int) -> Sources | None:
    scale, length = rank(node.inputs[1]), rank(node.inputs[0])
    if scale is None or length is None or attribute(node, "block_size", 0):
        return None
    along = int(attribute(node, "axis", 1)) % length
    return _only(node, axis) if scale == 0 or (scale == 1 and axis != along) else None


def _matmul(node: ir.Node, axis: int, opset: int) -> Sources | None:
    left, right, result = _shape(node, 0), _shape(node, 1), node.outputs[0].shape
    if left is None or right is None or result is None or len(left) < 2 or len(right) < 2:
        return None
    if axis == len(result) - 2:
        return (len(left) - 2, None)
    return None if axis == len(result) - 1 else _broadcast(node, axis, opset)


def _gemm(node: ir.Node, axis: int, opset: int) -> Sources | None:
    if axis != 0:
        return None
    rows = 1 if attribute(node, "transA", 0) else 0
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return (rows, *(None for _ in node.inputs[1:]))
    added, result = _shape(node, 2), node.outputs[0].shape
    if added is None or result is None:
        return None
    if len(added) < 2 or added[0] == 1:
        return (rows, None, None)
    return (rows, None, 0) if same_dims([added[0]], [result[0]]) else None


def _rows_of_blocks(node: ir.Node, axis: int, opset: int) -> Sources | None:
    length = rank(node.inputs[0])
    return None if length is None or axis >= length - 1 else _only(node, axis)


def _attention(node: ir.Node, axis: int, opset: int) -> Sources | None:
    query, result = _shape(node, 0), node.outputs[0].shape
    if query is None or result is None or attribute(node, "is_causal", 0):
        return None
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    if any(value is not None for value in node.inputs[4:]) or axis != len(query) - 2:
        return None
    found: list[int | None] = [axis, *(None for _ in node.inputs[1:])]
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        mask = _shape(node, 3)
        if mask is None or len(mask) < 2:
            return None
        if mask[-2] != 1:
            if not same_dims([mask[-2]], [query[axis]]):
                return None
            found[3] = len(mask) - 2
    return tuple(found)


def _conv(node: ir.Node, axis: int, opset: int) -> Sources | None:
    kernel = _shape(node, 1)
    if kernel is None or axis < 2 or any(dim != 1 for dim in kernel[2:]):
        return None
    moved = (*attribute(node, "pads", ()), *(each - 1 for each in attribute(node, "strides", ())))
    if any(moved) or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return None
    return _only(node, axis)


def _transpose(node: ir.Node, axis: int, opset: int) -> Sources | None:
    length = rank(node.inputs[0])
    if length is None:
        return None
    return _nth(node, attribute(node, "perm") or list(range(length))[::-1], axis)


def _reshape(node: ir.Node, axis: int, opset: int) -> Sources | None:
    source, result, target = _shape(node, 0), node.outputs[0].shape, ints(node, 1)
    if source is None or result is None or target is None:
        return None
    if attribute(node, "allowzero", 0) and 0 in target:
        return None
    kept = axis + 1
    if len(source) < kept or not same_dims(source[:kept], list(result)[:kept]):
        return None
    return _only(node, axis)


def _unsqueeze(node: ir.Node, axis: int, opset: int) -> Sources | None:
    axes, length = ints(node, 1, "axes"), rank(node.outputs[0])
    if axes is None or length is None:
        return None
    made = {each % length for each in axes}
    return None if axis in made else _only(node, axis - sum(each < axis for each in made))


def _squeeze(node: ir.Node, axis: int, opset: int) -> Sources | None:
    axes, length = ints(node, 1, "axes"), rank(node.inputs[0])
    if not axes or length is None:
        return None
    gone = {each % length for each in axes}
    return _nth(node, [each for each in range(length) if each not in gone], axis)


def _slice(node: ir.Node, axis: int, opset: int) -> Sources | None:
    axes, length = ints(node, 3, "axes"), rank(node.inputs[0])
    if axes is None or length is None or axis in {each % length for each in axes}:
        return None
    return _only(node, axis)


def _split(node: ir.Node, axis: int, opset: int) -> Sources | None:
    length = rank(node.inputs[0])
    if length is None or int(attribute(node, "axis", 0)) % length == axis:
        return None
    return _only(node, axis)


def _concat(node: ir.Node, axis: int, opset: int) -> Sources | None:
    length, along = rank(node.outputs[0]), attribute(node, "axis")
    if length is None or along is None or int(along) % length == axis:
        return None
    return tuple(axis for _ in node.inputs)


_ELEMENTWISE = (
    "Abs", "Add", "And", "Cast", "Ceil", "Celu", "Clip", "Cos", "Div", "Dropout", "Elu",
    "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid",
    "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max",
    "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal",
    "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub",
    "Sum", "Tanh", "ThresholdedRelu", "Where", "Xor",
)  # fmt: skip
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip

Rule = Callable[[ir.Node, int, int], Sources | None]

_RULES: dict[tuple[str, str], Rule] = {
    **{("", kind): _broadcast for kind in _ELEMENTWISE},
    **{("", kind): _reduce for kind in _REDUCTIONS},
    **{(MICROSOFT, kind): _broadcast for kind in ("BiasGelu", "FastGelu", "Gelu", "QuickGelu")},
    ("", "Attention"): _attention,
    ("", "Concat"): _concat,
    ("", "Conv"): _conv,
    ("", "DequantizeLinear"): _quantize,
    ("", "Gemm"): _gemm,
    ("", "LayerNormalization"): _before("axis", -1),
    ("", "LogSoftmax"): _softmax,
    ("", "MatMul"): _matmul,
    ("", "QuantizeLinear"): _quantize,
    ("", "RMSNormalization"): _before("axis", -1),
    ("", "Reshape"): _reshape,
    ("", "SimplifiedLayerNormalization"): _before("axis", -1),
    ("", "Slice"): _slice,
    ("", "Softmax"): _softmax,
    ("", "Split"): _split,
    ("", "Squeeze"): _squeeze,
    ("", "Transpose"): _transpose,
    ("", "Unsqueeze"): _unsqueeze,
    (MICROSOFT, "MatMulNBits"): _rows_of_blocks,
    (MICROSOFT, "SkipLayerNormalization"): _skip_norm,
    (MICROSOFT, "SkipSimplifiedLayerNormalization"): _skip_norm,
}
