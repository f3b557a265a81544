"""Cross-layer equalization: balance the channels between two convolutions.

Why: one activation scale for all channels, and per-channel ranges that differ a thousandfold, cost
most of the eight bits.  Channel i of the first convolution is divided by s_i and the weights of the
second that read it are multiplied by s_i.  Equal: up to float rounding, since Relu and LeakyRelu
commute with positive factors.
"""

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, const_of
from modelkit.passes.surgery import is_onnx
from modelkit.quantize.weights import array_of, is_weight

_ROUNDS = 3
_LIMIT = 1e3
_SMALL = 1e-8


def equalize(model: Model) -> int:
    """Balance every Conv -> (Relu) -> Conv pair with no other reader, in place; how many."""
    pairs = [(node, second) for node in model.graph if (second := _partner(node)) is not None]
    for _ in range(_ROUNDS):
        for first, second in pairs:
            _balance(model.graph, first, second)
    return len(pairs)


def _partner(node: ir.Node) -> ir.Node | None:
    if not _is_plain(node):
        return None
    reader = _only_reader(node)
    if reader is not None and is_onnx(reader, "Relu", "LeakyRelu"):
        reader = _only_reader(reader)
    if reader is None or not _is_plain(reader) or reader.inputs[0] is None:
        return None
    group = reader.attributes.get_int("group", 1)
    weight = reader.inputs[1]
    assert weight is not None
    assert weight.shape is not None
    depthwise = group == weight.shape[0] and weight.shape[1] == 1
    return reader if group == 1 or depthwise else None


def _is_plain(node: ir.Node) -> bool:
    if not is_onnx(node, "Conv") or not is_weight(node.inputs[1]):
        return False
    weight = node.inputs[1]
    biased = len(node.inputs) > 2 and node.inputs[2] is not None
    constant = not biased or const_of(node.inputs[2]) is not None
    return constant and weight is not None and weight.dtype == ir.DataType.FLOAT


def _only_reader(node: ir.Node) -> ir.Node | None:
    output = node.outputs[0]
    readers = list(output.uses())
    if len(readers) != 1 or output.is_graph_output() or readers[0][1] != 0:
        return None
    return readers[0][0]


def _balance(graph: ir.Graph, first: ir.Node, second: ir.Node) -> None:
    w, v = array_of(first.inputs[1]), array_of(second.inputs[1])
    dense = second.attributes.get_int("group", 1) == 1
    made = np.abs(w.reshape(len(w), -1)).max(axis=1)
    read = np.abs(np.moveaxis(v, 1, 0) if dense else v)
    read = read.reshape(len(read), -1).max(axis=1)
    s = np.sqrt(np.maximum(made, _SMALL) / np.maximum(read, _SMALL))
    s = np.clip(s / np.exp(np.log(s).mean()), 1 / _LIMIT, _LIMIT).astype(np.float32)
    column = s.reshape(-1, *[1] * (w.ndim - 1))
    row = s.reshape(1, -1, *[1] * (v.ndim - 2)) if dense else column
    _set(graph, first, 1, w / column)
    if len(first.inputs) > 2 and first.inputs[2] is not None:
        _set(graph, first, 2, array_of(first.inputs[2]) / s)
    _set(graph, second, 1, v * row)


def _set(graph: ir.Graph, node: ir.Node, place: int, array: np.ndarray) -> None:
    # A new constant each time: the old one may be shared with another layer.
    old = node.inputs[place]
    name = old.name if old is not None and old.name else "weight"
    stem = name if name.endswith("_equal") else f"{name}_equal"
    if old is not None and name.endswith("_equal") and len(list(old.uses())) == 1:
        old.const_value = ir.tensor(np.ascontiguousarray(array, np.float32), name=old.name)
        return
    node.replace_input_with(place, add_constant(graph, stem, array.astype(np.float32)))
