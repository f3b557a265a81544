"""Merge neighbours of one kind that move or relabel data."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import (
    attribute,
    axes_of,
    bypass,
    constant,
    ints,
    is_onnx,
    rank,
    same_dims,
    same_shape,
)

WIDER: dict[ir.DataType, frozenset[ir.DataType]] = {
    ir.DataType.BOOL: frozenset(
        (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32, ir.DataType.INT64,
         ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)
    ),
    ir.DataType.INT8: frozenset(
        (ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT,
         ir.DataType.DOUBLE)
    ),
    ir.DataType.UINT8: frozenset(
        (ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT,
         ir.DataType.DOUBLE)
    ),
    ir.DataType.INT32: frozenset((ir.DataType.INT64, ir.DataType.DOUBLE)),
    ir.DataType.FLOAT16: frozenset((ir.DataType.FLOAT, ir.DataType.DOUBLE)),
    ir.DataType.BFLOAT16: frozenset((ir.DataType.FLOAT, ir.DataType.DOUBLE)),
    ir.DataType.FLOAT: frozenset((ir.DataType.DOUBLE,)),
}  # fmt: skip
"""Types that hold every value of the key, so that a Cast to them on the way loses nothing."""


def merge_chains(model: Model) -> Changes:
    """Merge Transpose, Reshape, Unsqueeze, Squeeze and widening Cast pairs into one node or none.

    The first of a pair stays where others read it too.  Exact: no arithmetic is touched.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            if node.op_type in RULES and is_onnx(node, node.op_type) and node.inputs:
                before = node.inputs[0]
                first = None if before is None else before.producer()
                if first is not None and is_onnx(first, *RULES[node.op_type]):
                    count += RULES[node.op_type][first.op_type](model, first, node)
    return Changes(count)


Rule = Callable[[Model, ir.Node, ir.Node], bool]


def _transposes(model: Model, first: ir.Node, second: ir.Node) -> bool:
    inner, outer = attribute(first, "perm"), attribute(second, "perm")
    length = rank(first.inputs[0])
    if inner is None and outer is None:
        return first.inputs[0] is not None and bypass(second, first.inputs[0])
    if inner is None or outer is None:
        if length is None:
            return False
        inner = list(range(length))[::-1] if inner is None else inner
        outer = list(range(length))[::-1] if outer is None else outer
    if len(inner) != len(outer):
        return False
    second.attributes["perm"] = ir.AttrInt64s("perm", [inner[axis] for axis in outer])
    second.replace_input_with(0, first.inputs[0])
    return True


def _reshapes(model: Model, first: ir.Node, second: ir.Node) -> bool:
    target, source, middle = ints(second, 1, "shape"), first.inputs[0], first.outputs[0]
    if source is None:
        return False
    if target is None:
        return same_shape(source, second.outputs[0]) and bypass(second, source)
    # A 0 copies a dim of what the first made: it must be one of the source, at the same place.
    for place in (place for place, dim in enumerate(target) if dim == 0):
        if source.shape is None or middle.shape is None or place >= len(source.shape):
            return False
        if not same_dims([source.shape[place]], [middle.shape[place]]):
            return False
    second.replace_input_with(0, source)
    return True


def _unsqueezes(model: Model, first: ir.Node, second: ir.Node) -> bool:
    low, high = rank(first.outputs[0]), rank(second.outputs[0])
    inner, outer = axes_of(first, low), axes_of(second, high)
    if inner is None or outer is None or low is None:
        return False
    places = [place for place in range(low + len(outer)) if place not in outer]
    merged = sorted([*outer, *(places[axis] for axis in inner)])
    return _set_axes(model, first, second, merged)


def _squeezes(model: Model, first: ir.Node, second: ir.Node) -> bool:
    high, low = rank(first.inputs[0]), rank(first.outputs[0])
    inner, outer = axes_of(first, high), axes_of(second, low)
    if not inner or not outer or high is None:
        return False
    left = [place for place in range(high) if place not in inner]
    return _set_axes(model, first, second, sorted([*inner, *(left[axis] for axis in outer)]))


def _set_axes(model: Model, first: ir.Node, second: ir.Node, axes: list[int]) -> bool:
    graph = second.graph
    assert graph is not None
    if "axes" in second.attributes:
        second.attributes["axes"] = ir.AttrInt64s("axes", axes)
    else:
        name = f"{second.outputs[0].name}_axes"
        value = constant(model, graph, name, np.array(axes, dtype=np.int64))
        if value is None:
            return False
        second.replace_input_with(1, value)
    second.replace_input_with(0, first.inputs[0])
    return True


def _undone(model: Model, first: ir.Node, second: ir.Node) -> bool:
    source = first.inputs[0]
    wide = rank(first.outputs[0] if first.op_type == "Unsqueeze" else source)
    inner, outer = axes_of(first, wide), axes_of(second, wide)
    if source is None or not inner or inner != outer:
        return False
    return bypass(second, source)


def _casts(model: Model, first: ir.Node, second: ir.Node) -> bool:
    source = first.inputs[0]
    middle = attribute(first, "to")
    if source is None or source.dtype is None or middle is None:
        return False
    if ir.DataType(middle) not in WIDER.get(source.dtype, ()):
        return False
    second.replace_input_with(0, source)
    return True


RULES: dict[str, dict[str, Rule]] = {
    "Cast": {"Cast": _casts},
    "Reshape": {"Reshape": _reshapes, "Flatten": _reshapes, "Squeeze": _reshapes,
                "Unsqueeze": _reshapes},
    "Squeeze": {"Squeeze": _squeezes, "Unsqueeze": _undone},
    "Transpose": {"Transpose": _transposes},
    "Unsqueeze": {"Unsqueeze": _unsqueezes, "Squeeze": _undone},
}  # fmt: skip
