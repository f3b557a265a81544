"""Remove nodes that give back what they got."""

from collections.abc import Callable

import onnx_ir as ir

from modelkit.model import Model, const_of
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import attribute, bypass, ints, is_onnx, same_shape
from modelkit.passes.uniform import uniform


def remove_identity(model: Model) -> Changes:
    """Remove Identity, Dropout at inference, and Cast, Reshape, Transpose, Slice, Pad, Expand,
    Tile, Flatten, Squeeze, Unsqueeze, Concat, Sum, Max, MaxPool, Min, Mean, Where, And, Or and
    neutral arithmetic that change nothing.

    Whether a shape changes is judged by what ``infer_symbols`` wrote.  Outputs keep their names; a
    node between an input and an output stays.  Adding 0 turns -0.0 into 0.0, otherwise exact.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            test = RULES.get(node.op_type)
            if test is None or not is_onnx(node, node.op_type):
                continue
            source = test(node)
            if source is not None and bypass(node, source):
                count += 1
    return Changes(count)


Test = Callable[[ir.Node], ir.Value | None]


def _always(node: ir.Node) -> ir.Value | None:
    return node.inputs[0]


def _alone(node: ir.Node) -> ir.Value | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _dropout(node: ir.Node) -> ir.Value | None:
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        return None
    training = node.inputs[2] if len(node.inputs) > 2 else None
    if training is not None:
        value = const_of(training)
        if value is None or bool(value.reshape(-1)[0]):
            return None
    if node.graph is None or (_version(node) < 7 and not attribute(node, "is_test", 0)):
        return None
    return node.inputs[0]


def _version(node: ir.Node) -> int:
    graph: ir.Graph | None = node.graph
    return 0 if graph is None else graph.opset_imports.get("", 7)


def _cast(node: ir.Node) -> ir.Value | None:
    source, to = node.inputs[0], attribute(node, "to")
    if source is None or source.dtype is None or to is None:
        return None
    return source if source.dtype == ir.DataType(to) else None


def _same_shape(node: ir.Node) -> ir.Value | None:
    source = node.inputs[0]
    return source if source is not None and same_shape(source, node.outputs[0]) else None


def _transpose(node: ir.Node) -> ir.Value | None:
    order = attribute(node, "perm")
    return node.inputs[0] if order is not None and order == type(order)(range(len(order))) else None


def _slice(node: ir.Node) -> ir.Value | None:
    steps = ints(node, 4) if len(node.inputs) > 4 and node.inputs[4] is not None else [1]
    return _same_shape(node) if steps is not None and set(steps) <= {1} else None


def _pad(node: ir.Node) -> ir.Value | None:
    pads = ints(node, 1, "pads")
    return node.inputs[0] if pads is not None and not any(pads) else None


def _one_pixel(node: ir.Node) -> ir.Value | None:
    """A MaxPool that looks at, and steps over, one place at a time."""
    listed = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    sizes = {*attribute(node, "kernel_shape", ()), *attribute(node, "strides", ())}
    return None if listed or sizes != {1} or any(attribute(node, "pads", ())) else node.inputs[0]


def _neutral(value: float, *, either: bool) -> Test:
    def test(node: ir.Node) -> ir.Value | None:
        if len(node.inputs) != 2:
            return None
        pairs = [(0, 1), (1, 0)] if either else [(0, 1)]
        for kept, other in pairs:
            source = node.inputs[kept]
            if source is not None and uniform(node.inputs[other]) == value:
                return source if same_shape(source, node.outputs[0]) else None
        return None

    return test


def _where(node: ir.Node) -> ir.Value | None:
    condition, yes, no = node.inputs
    chosen = uniform(condition)
    if yes is no:
        source = yes
    elif chosen is None:
        return None
    else:
        source = yes if chosen else no
    return source if source is not None and same_shape(source, node.outputs[0]) else None


RULES: dict[str, Test] = {
    "Add": _neutral(0, either=True), "And": _neutral(1, either=True), "Cast": _cast,
    "Concat": _alone,
    "Div": _neutral(1, either=False), "Dropout": _dropout, "Expand": _same_shape,
    "Flatten": _same_shape, "Identity": _always, "Max": _alone, "MaxPool": _one_pixel,
    "Mean": _alone, "Min": _alone,
    "Mul": _neutral(1, either=True), "Or": _neutral(0, either=True), "Pad": _pad,
    "Pow": _neutral(1, either=False),
    "Reshape": _same_shape, "Slice": _slice, "Squeeze": _same_shape,
    "Sub": _neutral(0, either=False), "Sum": _alone, "Tile": _same_shape,
    "Transpose": _transpose, "Unsqueeze": _same_shape, "Where": _where,
}  # fmt: skip
