"""Take biases away from products that can do without.

Why: the kernel of integer products adds a bias while it scales its results, 1 to 4 % of its time.
Equal, up to float rounding:

- a bias of an attention's keys moves all scores of a query by the same number, which softmax does
  not see;
- a bias before a residual sum with what a normalization made goes into the shift of that
  normalization, and the biases of the other layers behind it take it off again.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant, const_of
from modelkit.passes.surgery import is_onnx
from modelkit.quantize.heads import heads_of
from modelkit.quantize.linears import constant_bias
from modelkit.quantize.weights import array_of, is_weight


def spare_biases(graph: ir.Graph) -> int:
    """Take away what biases ``graph``, whose linear layers are normalized, can spare, in place."""
    count = 0
    for node in list(graph):
        if not is_onnx(node, "MatMul") or not is_weight(node.inputs[1]):
            continue
        found = constant_bias(node)
        if found is None or found[0].outputs[0].is_graph_output():
            continue
        added, bias = found
        if _makes_keys(added.outputs[0]) or _moved(graph, added.outputs[0], array_of(bias)):
            added.outputs[0].replace_all_uses_with(node.outputs[0])
            graph.remove(added, safe=True)
            count += 1
    return count


def _makes_keys(value: ir.Value) -> bool:
    """Whether ``value`` [batch, keys, channels] is read as keys of an Attention only."""
    readers = list(value.uses())
    return len(readers) == 1 and readers[0][1] == 1 and heads_of(readers[0][0]) is not None


@dataclass(frozen=True)
class _Reader:
    """A linear layer that reads a value, maybe behind a Mul by a vector."""

    node: ir.Node
    factor: np.ndarray | None


def _moved(graph: ir.Graph, value: ir.Value, bias: np.ndarray) -> bool:
    """Put ``bias``, which is in ``value``, into the normalization it is summed with."""
    readers = list(value.uses())
    if len(readers) != 1 or not is_onnx(readers[0][0], "Add", "Sum"):
        return False
    total = readers[0][0]
    others = [operand for operand in total.inputs if operand is not value]
    if len(total.inputs) != 2 or len(others) != 1 or others[0] is None or total.graph is not graph:
        return False
    base = others[0]
    norm = base.producer()
    if norm is None or norm.graph is not graph or not _has_shift(norm, bias.shape):
        return False
    behind = _layers_behind(base, total)
    if behind is None:
        return False
    for reader in behind:
        _take_off(graph, reader, bias)
    shift = array_of(norm.inputs[2]) + bias
    norm.replace_input_with(2, add_constant(graph, f"{norm.name}_shift", shift))
    return True


def _has_shift(node: ir.Node, shape: tuple[int, ...]) -> bool:
    if not is_onnx(node, "LayerNormalization") or len(node.outputs) != 1 or len(node.inputs) < 3:
        return False
    shift = const_of(node.inputs[2])
    return shift is not None and shift.shape == shape and shift.dtype == np.float32


def _layers_behind(base: ir.Value, total: ir.Node) -> list[_Reader] | None:
    """The linear layers that read ``base`` beside ``total``; None if anything else does."""
    if base.is_graph_output():
        return None
    found: list[tuple[ir.Node, int, np.ndarray | None]] = []
    for user, index in base.uses():
        if user is total:
            continue
        factor = None if index != 0 or not is_onnx(user, "Mul") else const_of(user.inputs[1])
        if factor is None:
            found.append((user, index, None))
        elif user.outputs[0].is_graph_output():
            return None
        else:
            found.extend((after, place, factor) for after, place in user.outputs[0].uses())
    for user, index, factor in found:
        if index != 0 or not is_onnx(user, "MatMul") or not is_weight(user.inputs[1]):
            return None
        if factor is not None and factor.ndim > 1:
            return None
        if constant_bias(user) is None and not _makes_keys(user.outputs[0]):
            return None
    return [_Reader(user, factor) for user, _, factor in found]


def _take_off(graph: ir.Graph, reader: _Reader, bias: np.ndarray) -> None:
    found = constant_bias(reader.node)
    if found is None:
        return  # makes keys
    added, old = found
    scaled = bias if reader.factor is None else bias * reader.factor
    left = array_of(old) - scaled @ array_of(reader.node.inputs[1])
    side = 0 if added.inputs[0] is old else 1
    added.replace_input_with(side, add_constant(graph, f"{old.name}_less", left))
