"""Whether a number in a graph is the length of an axis of a tensor."""

import onnx_ir as ir

from modelkit.passes.cells import constant_of
from modelkit.passes.infer_symbols import dim_of, elements_of
from modelkit.passes.surgery import is_onnx

_SCALARS = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape")


def behind_scalars(value: ir.Value | None) -> ir.Value | None:
    """The single number that ``value`` is, before changes of its type and shape."""
    while value is not None and (node := value.producer()) is not None:
        if not is_onnx(node, *_SCALARS):
            break
        value = node.inputs[0]
    return value


def is_length(number: ir.Value, dim: int | ir.SymbolicDim) -> bool:
    """Whether the single ``number`` is the length ``dim``, for every input."""
    source = behind_scalars(number)
    array = constant_of(source)
    if array is not None:  # which may be a float, as bounds of TensorFlow's loops are
        return array.size == 1 and isinstance(dim, int) and bool(array.item() == dim)
    length, elements = dim_of(dim), elements_of(source)
    return length is not None and elements == (length,)
