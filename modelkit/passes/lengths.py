"""Whether a number in a graph is the length of an axis of a tensor."""

import onnx_ir as ir

from modelkit.passes.cells import constant_of
from modelkit.passes.surgery import attribute, ints, is_onnx, same_dims

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
    if array is not None:
        return array.size == 1 and isinstance(dim, int) and bool(array.item() == dim)
    node = None if source is None else source.producer()
    place = 0
    if node is not None and is_onnx(node, "Gather", "Slice"):
        single = _single_place(node)
        if single is None:
            return False
        place, node = single, _vector(node.inputs[0])
        part = _part(node, place)
        if part is not None:
            return is_length(part, dim)
    if node is None or not is_onnx(node, "Shape") or node.inputs[0] is None:
        return False
    shape = node.inputs[0].shape
    if shape is None:
        return False
    taken = list(shape)[attribute(node, "start", 0) : attribute(node, "end")]
    if node.outputs[0] is source and len(taken) != 1:
        return False
    return -len(taken) <= place < len(taken) and same_dims([taken[place]], [dim])


def _single_place(node: ir.Node) -> int | None:
    """Which number of a shape ``node`` takes."""
    if is_onnx(node, "Gather"):
        places = ints(node, 1)
        return places[0] if places is not None and len(places) == 1 else None
    starts, ends = ints(node, 1, "starts"), ints(node, 2, "ends")
    if starts and ends and len(starts) == 1 and starts[0] >= 0 and ends[0] == starts[0] + 1:
        return starts[0]
    return None


def _vector(value: ir.Value | None) -> ir.Node | None:
    """What makes a shape: Shape, or a Concat of lengths."""
    while value is not None and (node := value.producer()) is not None:
        if is_onnx(node, "Shape", "Concat"):
            return node
        if not is_onnx(node, "Cast", "Identity"):
            return None
        value = node.inputs[0]
    return None


def _part(node: ir.Node | None, place: int) -> ir.Value | None:
    """The number at ``place`` of a Concat of single ones."""
    if node is None or not is_onnx(node, "Concat"):
        return None
    if any(each is None or each.shape is None or each.shape != [1] for each in node.inputs):
        return None
    return node.inputs[place] if -len(node.inputs) <= place < len(node.inputs) else None
