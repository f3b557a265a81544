"""Fill attention masks with a number that half can hold.

Exporters hide positions by the lowest float (-3.4e38) or -1e9.  In half that is minus infinity,
and 0 times it, in ``(1 - mask) * lowest``, is NaN everywhere.  Softmax gives 0 to whatever lies far
below the largest score, so any far lower number does.
"""

import numpy as np
import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import ONNX, graphs
from modelkit.passes.surgery import is_onnx
from modelkit.precision.convert import output_uses
from modelkit.precision.kinds import MOVEMENT, SOFTMAX
from modelkit.precision.narrow import LARGEST
from modelkit.precision.types import is_wide

FILLS = {ir.DataType.FLOAT16: -1e4, ir.DataType.BFLOAT16: -1e37}
"""Far below any score, and so far within the range that several masks added up stay in it."""

_THROUGH = MOVEMENT | {"Add", "Sub", "Mul", "Max", "Min", "Cast", "Sum"}
_MASK_INPUTS = {"Attention": (3,), "MultiHeadAttention": (4, 5), "GroupQueryAttention": (10,)}


def fill_masks(model: Model, half: ir.DataType) -> int:
    """Replace fills of masks beyond the range of ``half``, in place; how many there were.

    A constant counts as one when it has values beneath the range but none above, and everything
    computed from it ends in a Softmax, on the way only moved, added, scaled or selected.
    """
    changed = 0
    outputs = frozenset(output_uses(model))
    for graph in graphs(model):
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or not is_wide(value) or value.is_graph_input() or value in outputs:
                continue
            if not _meets_masks(value):
                continue
            filled = _filled(tensor.numpy(), half)
            if filled is not None and _ends_in_softmax(value, outputs):
                value.const_value = ir.tensor(filled, name=value.name)
                changed += 1
        for node in graph:
            held = node.attributes.get("value")
            if not is_onnx(node, "ConstantOfShape") or held is None:
                continue
            filled = _filled(held.as_tensor().numpy(), half)
            if filled is not None and _ends_in_softmax(node.outputs[0], outputs):
                node.attributes["value"] = ir.AttrTensor("value", ir.tensor(filled))
                changed += 1
    return changed


def _meets_masks(value: ir.Value) -> bool:
    """Whether a reader may pass a mask on: the weights of layers need not be looked at."""
    return any(user.op_type in _THROUGH or user.op_type in _MASK_INPUTS for user, _ in value.uses())


def _filled(array: np.ndarray, half: ir.DataType) -> np.ndarray | None:
    """``array`` with what lies beneath the range filled; None if nothing does, or above too."""
    if array.size == 0 or array.dtype.kind != "f":
        return None
    lowest = -LARGEST[half]
    if not float(array.min()) <= lowest or float(array.max()) > -lowest:
        return None
    fill = array.dtype.type(FILLS[half])
    return np.where((array <= lowest) & np.isfinite(array), fill, array)


def _ends_in_softmax(start: ir.Value, outputs: frozenset[ir.Value]) -> bool:
    waiting, seen, ends = [start], {start}, 0
    while waiting:
        value = waiting.pop()
        if value in outputs:
            return False
        for user, place in value.uses():
            if is_onnx(user, *SOFTMAX) or place in _MASK_INPUTS.get(user.op_type, ()):
                ends += 1
            elif user.op_type in _THROUGH and user.domain in ONNX:
                new = [each for each in user.outputs if each not in seen and is_wide(each)]
                seen.update(new)
                waiting += new
            elif not _is_idle(user):
                return False
    return ends > 0


def _is_idle(node: ir.Node) -> bool:
    """Whether the node looks only at the shape."""
    return is_onnx(node, "Shape", "Size")
