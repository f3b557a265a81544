"""Move the channels of a convolution's result last before its pixels become rows.

Why: a Transpose of four axes behind a convolution is part of the reorder out of ONNX Runtime's
blocked layout; one of three axes behind a Reshape is a pass over the map of its own:
1.01-1.4x on the first convolution of a vision transformer.
Equal: exactly the same numbers.
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK, as_rows
from modelkit.rewrite import Capture, Expr, Operand, op

LEVEL = "all"
OPSET = 5  # Reshape takes its sizes as an input
ORDER = 17  # before patches_as_linear, which looks for channels that stand last


def before(x: Expr, sizes: Expr) -> Expr:
    return op.Transpose(op.Reshape(x, sizes).named("flat"), perm=[0, 2, 1])


def when(x: Capture, sizes: Capture, flat: Capture) -> str | None:
    if x.node is None or x.node.op_type != "Conv" or x.dtype != ir.DataType.FLOAT:
        return ""
    if x.shape is None or len(x.shape) != 4 or flat.shape is None or len(flat.shape) != 3:
        return ""
    channels = x.shape[1]
    if not isinstance(channels, int) or channels % BLOCK or flat.shape[:2] != x.shape[:2]:
        return ""
    if x.shape[0] is None:
        return "its batch has no name"
    return None if are_movable(flat, sizes) else "its sizes may count on the place of channels"


def after(x: Capture, sizes: Capture, flat: Capture) -> Expr:
    return op.Reshape(as_rows(x, ()), channels_last(flat, sizes))


def are_movable(made: Capture, sizes: Capture) -> bool:
    """Whether :func:`channels_last` knows ``sizes``: no 0 among them may mean another axis then."""
    if _are_known(made) or sizes.const is not None:
        return True
    if sizes.node is None or sizes.node.op_type != "Concat":
        return sizes.node is not None and sizes.node.op_type == "Shape"
    parts = [Capture(value) for value in sizes.node.inputs]
    channels = parts[1].const if all(part.shape == (1,) for part in parts) else None
    return channels is not None and channels.item() != 0


def channels_last(made: Capture, sizes: Capture) -> Operand:
    """What a Reshape to ``sizes`` is told where the channels, its axis 1, stand last instead.

    ``made`` is its result.  No -1 where the lengths are known, as a batch may be empty.
    """
    assert made.shape is not None
    order = [0, *range(2, len(made.shape)), 1]
    if _are_known(made):
        return np.array([0, *(made.shape[axis] for axis in order[1:])], np.int64)
    if sizes.const is None:
        return op.Gather(sizes, np.array(order, np.int64))
    return np.array([0, *sizes.const[order[1:-1]], made.shape[1]], np.int64)


def _are_known(made: Capture) -> bool:
    return all(isinstance(length, int) for length in (made.shape or (None,))[1:])
