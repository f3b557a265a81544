"""Compute images of one pixel's width as images of one pixel's height."""

from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of
from modelkit.passes.changes import Changes
from modelkit.passes.channel_region import BINARY, UNARY, weight_of
from modelkit.passes.maker import Maker
from modelkit.passes.remove_zero_channels import POOLS
from modelkit.passes.surgery import attribute, constant, drop, ints, is_onnx, replace, same_shape

_TURNED = ("kernel_shape", "strides", "dilations")
_FEWEST = 8
"""Pixels of a row that are computed at once, or nearly so."""
_SWAP = [0, 1, 3, 2, 4, 5, 7, 6]
"""Of the paddings of four axes, the last two changed."""


def columns_as_rows(model: Model) -> Changes:
    """Turn [N, C, H, 1] into [N, C, 1, H] where kernels [h, 1] are convolved with it.

    ONNX Runtime's blocked kernels take several pixels of a row at once, but one row after the
    other: sound and series written as columns (CREPE) are convolved pixel by pixel.  What lies
    between such convolutions is turned with them.  Exact; the order of sums may differ.
    """
    turned: set[ir.Node] = set()
    count = 0
    for node in list(model.graph):
        if node not in turned and _is_tall(node):
            region = _region(model.graph, node)
            _turn(model, [each for each in model.graph if each in region])
            turned |= region
            count += 1
    return Changes(count)


def _is_column(value: ir.Value | None) -> bool:
    shape = None if value is None else value.shape
    return shape is not None and len(shape) == 4 and shape[3] == 1


def _is_tall(node: ir.Node) -> bool:
    weight = weight_of(node)
    if weight is None or not _is_column(node.inputs[0]) or not _met(node):
        return False
    made = node.outputs[0].shape
    assert made is not None
    return not (isinstance(made[2], int) and made[2] < _FEWEST) and weight.shape[2] > 1


def _region(graph: ir.Graph, start: ir.Node) -> set[ir.Node]:
    """``start`` and all that can be turned with it."""
    found, waiting = {start}, [start]
    while waiting:
        for value in _met(waiting.pop()):
            beside = [value.producer(), *(user for user, _ in value.uses())]
            for node in beside:
                if node is not None and node.graph is graph and node not in found and _met(node):
                    found.add(node)
                    waiting.append(node)
    return found


def _met(node: ir.Node) -> list[ir.Value]:
    """The columns that ``node`` reads and makes; nothing where it cannot be turned."""
    first = node.inputs[0] if node.inputs else None
    if first is None or len(node.outputs) != 1:
        return []
    values = [first, node.outputs[0]]
    if is_onnx(node, "Conv", *POOLS):
        if not _slides_down(node):
            return []
    elif is_onnx(node, *BINARY):
        operands = [each for each in node.inputs if each is not None and not _is_single(each)]
        if len(operands) == 2 and not same_shape(*operands):
            return []
        values = [*operands, node.outputs[0]]
    elif is_onnx(node, "Concat"):
        if attribute(node, "axis") not in (1, -3):
            return []
        values = [*(each for each in node.inputs if each is not None), node.outputs[0]]
    elif is_onnx(node, "Pad"):
        pads = ints(node, 1)
        if len(node.inputs) > 3 or pads is None or len(pads) != 8 or pads[3] or pads[7]:
            return []
    elif is_onnx(node, "BatchNormalization"):
        if attribute(node, "training_mode", 0):
            return []
    elif not is_onnx(node, *UNARY) or not _is_single_valued(node):
        return []
    return values if all(_is_column(each) for each in values) else []


def _slides_down(node: ir.Node) -> bool:
    """Whether a kernel is as wide as the column, and nothing is put beside it."""
    if node.op_type.startswith("Global"):
        return True
    weight = weight_of(node)
    if is_onnx(node, "Conv") and weight is None:
        return False
    kernel = attribute(node, "kernel_shape") if weight is None else weight.shape[2:]
    pads = attribute(node, "pads", [0, 0, 0, 0])
    plain = attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return len(kernel) == 2 and kernel[1] == 1 and not pads[1] and not pads[3] and plain


def _is_single_valued(node: ir.Node) -> bool:
    """Whether what an operator of one map takes beside it, as the ends of a Clip, are numbers."""
    return is_onnx(node, "Clip") or all(each is None for each in node.inputs[1:])


def _is_single(value: ir.Value) -> bool:
    """Whether a constant is the same for all pixels of a channel."""
    array = const_of(value)
    return array is not None and (array.size == 1 or array.shape[-2:] == (1, 1))


def _turn(model: Model, nodes: list[ir.Node]) -> None:
    """Put a turned copy in front of each of ``nodes``, and columns again where others read it."""
    graph = model.graph
    width = constant(model, graph, "width", np.array([3], np.int64))
    height = constant(model, graph, "height", np.array([2], np.int64))
    turned: dict[ir.Value, ir.Value] = {}
    for node in nodes:
        maker, columns = Maker(graph, node), set(_met(node))
        inputs: list[ir.Value | None] = list(node.inputs)
        for place, value in enumerate(inputs):
            if value in columns and value is not None:
                if value not in turned:
                    flat = maker.make("Squeeze", [value, width])
                    turned[value] = maker.make("Unsqueeze", [flat, height])
                    _typed(turned[value], value)
                inputs[place] = turned[value]
        _turn_constants(model, node, inputs)
        (made,) = maker.make_all(node.op_type, inputs, 1, domain=node.domain, **_attributes(node))
        maker.name(made)
        producer = made.producer()
        assert producer is not None
        # A Pad with an empty value at its end is one that ONNX Runtime leaves as it is.
        producer.resize_inputs(len(node.inputs))
        _typed(made, node.outputs[0])
        turned[node.outputs[0]] = made
    inside = set(nodes)
    for node in reversed(nodes):
        old = node.outputs[0]
        if old.is_graph_output() or any(user not in inside for user, _ in old.uses()):
            maker = Maker(graph, node)
            flat = maker.make("Squeeze", [turned[old], height])
            column = maker.make("Unsqueeze", [flat, width])
            column.type, column.shape = old.type, old.shape
            replace(old, column)
    for node in reversed(nodes):
        drop(node)


def _turn_constants(model: Model, node: ir.Node, inputs: list[ir.Value | None]) -> None:
    array = const_of(inputs[1]) if is_onnx(node, "Conv", "Pad") else None
    if array is None:
        return
    swapped = array[_SWAP] if is_onnx(node, "Pad") else array.swapaxes(2, 3)
    old = inputs[1]
    assert old is not None
    inputs[1] = constant(model, model.graph, f"{old.name}_row", np.ascontiguousarray(swapped))


def _attributes(node: ir.Node) -> dict[str, Any]:
    found = {name: attribute(node, name) for name in node.attributes}
    for name in _TURNED:
        if name in found:
            found[name] = list(found[name])[::-1]
    if "pads" in found:
        top, left, bottom, right = found["pads"]
        found["pads"] = [left, top, right, bottom]
    return found


def _typed(row: ir.Value, column: ir.Value) -> None:
    row.type = column.type
    if column.shape is not None:
        dims = list(column.shape)
        row.shape = ir.Shape([dims[0], dims[1], dims[3], dims[2]])
