"""Reduce the two sides of a large map whose channels stand last one after the other.

Why: for one image ONNX Runtime goes down the column of each channel, where numbers are far apart
and, with channels and sides of powers of 2, fall onto the same places of the caches: 2-14x.
Several images take as long as before.
Equal: up to float rounding; the mean of means of as many numbers is the mean of all.
"""

from math import prod

import onnx_ir as ir

from modelkit.fusions.reduce_before_transpose import axes_of, over, reduction
from modelkit.rewrite import Capture, Expr

LEVEL = "all"
ORDER = 40  # what knows a pool or a normalization by it goes first

_KINDS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")
_SMALLEST = 1 << 20
"""Bytes of a map; smaller, the second step costs several images up to a quarter."""


def before(x: Expr, axes: Expr) -> Expr:
    return reduction(x, axes)


def when(x: Capture, axes: Capture, reduced: Capture) -> str | None:
    if reduced.node is None or reduced.node.op_type not in _KINDS or x.shape is None:
        return ""
    rank = len(x.shape)
    if rank < 3 or axes_of(reduced, axes, rank) != [rank - 3, rank - 2]:
        return ""
    if x.dtype != ir.DataType.FLOAT:
        return "it is not float32"
    lengths = [dim for dim in x.shape[-3:] if isinstance(dim, int)]
    if len(lengths) != 3:
        return "the sizes of the map are not fixed"
    if 4 * prod(lengths) < _SMALLEST or 1 in lengths:
        return "the map is too small to gain"
    return None


def after(x: Capture, axes: Capture, reduced: Capture) -> Expr:
    assert x.shape is not None
    rank, kept = len(x.shape), int(reduced.attrs.get("keepdims", 1))
    return over(reduced, axes, over(reduced, axes, x, [rank - 2], kept), [rank - 3], kept)
