"""Let operators that broadcast do so themselves."""

from collections.abc import Sequence

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import is_onnx, same_dims

_BROADCASTING = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater",
    "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub",
    "Sum", "Where", "Xor",
)  # fmt: skip
"""Operators whose operands all broadcast to each other (ONNX, Broadcasting)."""


def remove_expands(model: Model) -> Changes:
    """Remove an Expand all of whose readers broadcast what it reads to the same shape.

    ``x * y.expand_as(x)``, the usual spelling of squeeze-and-excitation in PyTorch, writes a whole
    feature map to read it once.  Shapes are those that ``infer_symbols`` wrote.  Exact.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            if is_onnx(node, "Expand") and _is_needless(node):
                source, expanded = node.inputs[0], node.outputs[0]
                assert source is not None
                expanded.replace_all_uses_with(source)
                count += 1
    return Changes(count)


def _is_needless(node: ir.Node) -> bool:
    source, expanded = node.inputs[0], node.outputs[0]
    if source is None or expanded.is_graph_output():
        return False
    users = [user for user, _ in expanded.uses()]
    return bool(users) and all(_broadcasts(user, expanded, source) for user in users)


def _broadcasts(user: ir.Node, expanded: ir.Value, source: ir.Value) -> bool:
    """Whether ``user`` makes the same shape from ``source`` as it does from ``expanded``."""
    if not is_onnx(user, *_BROADCASTING):
        return False
    operands = [source if value is expanded else value for value in user.inputs]
    made, directly = _common_shape(user.inputs), _common_shape(operands)
    return made is not None and directly is not None and same_dims(made, directly)


def _common_shape(values: Sequence[ir.Value | None]) -> list[int | ir.SymbolicDim] | None:
    """What ``values`` broadcast to; None where that is not known for sure."""
    shapes: list[ir.Shape] = []
    for value in values:
        if value is None or value.shape is None:
            return None
        shapes.append(value.shape)
    length = max(map(len, shapes))
    common: list[int | ir.SymbolicDim] = []
    for axis in range(-length, 0):
        dims = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(dims) > 1:
            return None
        common.append(dims.pop() if dims else 1)
    return common
