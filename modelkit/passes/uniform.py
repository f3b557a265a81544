"""Values all elements of which are one known number, whatever their shape turns out to be."""

import numpy as np
import onnx_ir as ir

from modelkit.model import const_of
from modelkit.passes.surgery import attribute, is_onnx

LARGEST = 1 << 16
DEPTH = 8

_SEEN = "modelkit.uniform"

MOVES = ("Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape",
         "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")  # fmt: skip
COMPARISONS = {
    "And": np.logical_and, "Equal": np.equal, "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal, "Less": np.less, "LessOrEqual": np.less_equal,
    "Or": np.logical_or, "Xor": np.logical_xor,
}  # fmt: skip


def uniform(value: ir.Value | None, depth: int = DEPTH) -> float | None:
    """The number every element of ``value`` is (1.0 for true), None where that is not known.

    Looks through operators that only move elements, and comparisons of such values: exporters make
    masks that hide nothing this way, of a shape that is known only when the model runs.
    """
    if value is None:
        return None
    tensor = value.const_value
    if tensor is not None:
        if tensor.size == 0 or tensor.size > LARGEST or value.is_graph_input():
            return None
        return _remembered(value, tensor)
    node = value.producer()
    if node is None or depth == 0:
        return None
    if is_onnx(node, "Constant"):
        return _only(const_of(value))
    if is_onnx(node, "ConstantOfShape"):
        held = attribute(node, "value")
        return 0.0 if held is None else _only(held.numpy())
    if is_onnx(node, *MOVES):
        return uniform(node.inputs[0], depth - 1)
    return _computed(node, depth - 1)


def _remembered(value: ir.Value, tensor: ir.TensorProtocol) -> float | None:
    """What ``tensor`` holds: it is asked for in every round of the passes."""
    seen = value.meta.get(_SEEN)
    if seen is None or seen[0] is not tensor:
        seen = value.meta[_SEEN] = (tensor, _only(tensor.numpy()))
    found: float | None = seen[1]
    return found


def _computed(node: ir.Node, depth: int) -> float | None:
    if is_onnx(node, "Not"):
        inner = uniform(node.inputs[0], depth)
        return None if inner is None else float(not inner)
    if is_onnx(node, "Where"):
        condition = uniform(node.inputs[0], depth)
        if condition is not None:
            return uniform(node.inputs[1 if condition else 2], depth)
        yes, no = uniform(node.inputs[1], depth), uniform(node.inputs[2], depth)
        return yes if yes == no else None
    if is_onnx(node, "Cast"):
        inner, to = uniform(node.inputs[0], depth), attribute(node, "to")
        if inner is None or to is None:
            return None
        if ir.DataType(to) is ir.DataType.BOOL:
            return float(bool(inner))
        return inner if inner in (0.0, 1.0) else None
    if node.op_type in COMPARISONS and is_onnx(node, node.op_type):
        a, b = (uniform(part, depth) for part in node.inputs)
        if a is None and b is not None and node.op_type in ("Greater", "GreaterOrEqual"):
            least = _least(node.inputs[0], depth)
            a = least if least is not None and COMPARISONS[node.op_type](least, b) else None
        return None if a is None or b is None else float(COMPARISONS[node.op_type](a, b))
    return None


def _least(value: ir.Value | None, depth: int) -> float | None:
    """A number that no element of ``value`` is below: positions count up from their start."""
    node = None if value is None else value.producer()
    while node is not None and depth > 0 and is_onnx(node, *MOVES):
        source, depth = node.inputs[0], depth - 1
        node = None if source is None else source.producer()
    if node is None or not is_onnx(node, "Range"):
        return None
    start, step = (const_of(node.inputs[place]) for place in (0, 2))
    if start is None or step is None or start.size != 1 or not step.item() > 0:
        return None
    return float(start.item())


def _only(array: np.ndarray | None) -> float | None:
    if array is None or not array.size or array.dtype.kind not in "fiub":
        return None
    first = array.reshape(-1)[0]
    return float(first) if bool(np.all(array == first)) else None
