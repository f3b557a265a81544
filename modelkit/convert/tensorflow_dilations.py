"""Dilated convolutions that TensorFlow spells as plain ones of every n-th place.

For lengths that are open, ``padding="same"`` becomes SpaceToBatchND, a convolution and
BatchToSpaceND, whose paddings and crops are computed at run time: 70 nodes in ONNX for one.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from modelkit.convert.tensorflow_ends import node_of

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")

Element = int | tuple[str, int, int]
"""A number, or the node of a vector, the place in it, and what a constant adds there."""


def merge_dilations(definition: Any) -> int:
    """Write each such convolution of ``definition`` as one; how many there were.

    The padding that makes a length a multiple of the dilation is cropped again, whatever it is, so
    that the paddings of the convolution are what is left of both.
    """
    nodes = {node.name: node for node in definition.node}
    readers: dict[str, list[Any]] = {}
    for node in definition.node:
        for name in node.input:
            readers.setdefault(node_of(name), []).append(node)
    return sum(
        _merged(node, nodes, readers) for node in definition.node if node.op == "BatchToSpaceND"
    )


def _merged(end: Any, nodes: dict[str, Any], readers: dict[str, list[Any]]) -> bool:
    chain = [end]
    for kinds in (("Squeeze",), _CONVOLUTIONS, ("ExpandDims",), ("SpaceToBatchND",)):
        before = nodes.get(node_of(chain[-1].input[0]))
        if before is not None and before.op in kinds and len(readers[before.name]) == 1:
            chain.append(before)
        elif kinds not in (("Squeeze",), ("ExpandDims",)):
            return False
    start = chain[-1]
    (convolution,) = [node for node in chain if node.op in _CONVOLUTIONS]
    flat = [node.op for node in chain if node.op in ("Squeeze", "ExpandDims")]
    block, back = (_array(node.input[1], nodes) for node in (start, end))
    if block is None or back is None or not np.array_equal(block, back):
        return False
    pads = _paddings(start.input[2], end.input[2], len(block), nodes)
    if pads is None or len(block) != (1 if flat else 2) or len(flat) not in (0, 2):
        return False
    if flat and not _is_row(chain, nodes):
        return False
    if not _is_plain(convolution):
        return False
    dilations = [*([1] if flat else []), *(int(size) for size in block)]
    pads = [(0, 0), *pads] if flat else pads
    convolution.attr["dilations"].list.i[:] = [1, *dilations, 1]
    convolution.attr["padding"].s = b"EXPLICIT"
    numbers = [0, 0, *(number for pair in pads for number in pair), 0, 0]
    convolution.attr["explicit_paddings"].list.i[:] = numbers
    first = chain[-2]  # what reads the input without its split
    first.input[0] = start.input[0]
    kind = end.attr["T"].type
    end.op = "Identity"
    del end.input[1:]
    for name in list(end.attr):
        del end.attr[name]
    end.attr["T"].type = kind
    return True


def _is_row(chain: list[Any], nodes: dict[str, Any]) -> bool:
    """Whether the axis that ExpandDims makes is the first of the two of the image."""
    (expand,) = [node for node in chain if node.op == "ExpandDims"]
    axis = _array(expand.input[1], nodes)
    return axis is not None and axis.size == 1 and int(axis.item()) in (1, -3)


def _is_plain(node: Any) -> bool:
    """Whether a convolution takes each place once, pads nothing, and has its channels last."""
    ones = all(
        number == 1 for name in ("strides", "dilations") for number in node.attr[name].list.i
    )
    last = node.attr["data_format"].s in (b"", b"NHWC")
    return ones and last and node.attr["padding"].s == b"VALID"


def _paddings(
    paddings: str, crops: str, count: int, nodes: dict[str, Any]
) -> list[tuple[int, int]] | None:
    """What a convolution pads, by axis: ``paddings`` without what ``crops`` takes away."""
    added, taken = _rows(paddings, count, nodes), _rows(crops, count, nodes)
    if added is None or taken is None:
        return None
    found = []
    for (first, last), (start, end) in zip(added, taken, strict=True):
        if not isinstance(first, int) or not isinstance(start, int) or start:
            return None
        if isinstance(last, int) and isinstance(end, int) and last >= end:
            found.append((first, last - end))
        elif isinstance(last, tuple) and isinstance(end, tuple) and last[:2] == end[:2]:
            found.append((first, last[2] - end[2]))
        else:
            return None
    return found if all(last >= 0 for _, last in found) else None


def _rows(name: str, count: int, nodes: dict[str, Any]) -> list[tuple[Element, Element]] | None:
    """The pairs [count, 2] that make a matrix of paddings."""
    array = _array(name, nodes)
    if array is not None:
        return [(int(a), int(b)) for a, b in array.reshape(-1, 2)]
    node = nodes.get(node_of(name))
    rows: list[str] = []
    if node is not None and node.op == "ExpandDims":
        rows = [node.input[0]]
    elif node is not None and node.op == "Pack":
        rows = list(node.input)
    found: list[tuple[Element, Element]] = []
    for row in rows:
        pair = nodes.get(node_of(row))
        held = _array(row, nodes)
        if held is not None and held.size == 2:
            found.append((int(held[0]), int(held[1])))
            continue
        if pair is None or pair.op != "Pack" or len(pair.input) != 2:
            return None
        first, last = (_element(each, nodes) for each in pair.input)
        if first is None or last is None:
            return None
        found.append((first, last))
    return found if len(found) == count else None


def _element(name: str, nodes: dict[str, Any]) -> Element | None:
    """One number: a constant, or a place of a vector."""
    array = _array(name, nodes)
    if array is not None:
        return int(array.item()) if array.size == 1 else None
    node = nodes.get(node_of(name))
    if node is None or node.op != "StridedSlice" or not node.attr["shrink_axis_mask"].i:
        return None
    begin = _array(node.input[1], nodes)
    vector = nodes.get(node_of(node.input[0]))
    if begin is None or begin.size != 1 or vector is None:
        return None
    place, added = int(begin.item()), 0
    while vector.op in ("AddV2", "Add"):
        held = [_array(each, nodes) for each in vector.input]
        known = [index for index, each in enumerate(held) if each is not None]
        other = None if len(known) != 1 else nodes.get(node_of(vector.input[1 - known[0]]))
        constant = None if other is None else held[known[0]]
        if constant is None or other is None:
            break
        added += int(constant.reshape(-1)[place if constant.size > 1 else 0])
        vector = other
    return vector.name, place, added


def _array(name: str, nodes: dict[str, Any]) -> np.ndarray | None:
    node = nodes.get(node_of(name))
    if node is None or node.op != "Const":
        return None
    found: np.ndarray = tf.make_ndarray(node.attr["value"].tensor)
    return found
