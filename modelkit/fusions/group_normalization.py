"""Normalize groups of channels that stand last as instances, with the channels in front.

Why: Keras takes mean and variance over axes that are not neighbours, and broadcasts them a few
numbers at a time; ONNX has no group normalization over channels that stand last, and ONNX Runtime's
kernel of InstanceNormalization is fast where a group lies in one piece.
Equal: up to float rounding.
"""

from math import prod

import numpy as np
import onnx_ir as ir

from modelkit.fusions.layer_normalization import with_axes_input
from modelkit.rewrite import Capture, Expr, op


def before(
    x: Expr, split: Expr, axes: Expr, epsilon: Expr, scale: Expr, bias: Expr, back: Expr
) -> Expr:
    groups = op.Reshape(x, split).named("groups")
    return op.Reshape(with_axes_input(groups, axes, epsilon, scale, bias), back).named("made")


def when(
    x: Capture,
    groups: Capture,
    axes: Capture,
    mean: Capture,
    variance: Capture,
    epsilon: Capture,
    scale: Capture,
    bias: Capture,
    made: Capture,
) -> str | None:
    if x.shape is None or groups.shape is None or made.shape is None or axes.const is None:
        return ""
    rank = len(x.shape)
    if len(groups.shape) != rank + 1 or rank < 3:
        return ""
    over = sorted(int(axis) % (rank + 1) for axis in axes.const.reshape(-1))
    if over != [*range(1, rank - 1), rank]:
        return ""
    if x.dtype != ir.DataType.FLOAT:
        return "it is not float32"
    if not all(isinstance(dim, int) and dim for dim in x.shape[1:]):
        return "the size of its image is not fixed"
    if x.shape[0] is None or groups.shape[:-2] != x.shape[:-1] or made.shape != x.shape:
        return "its groups are not those of channels"
    if any(part.attrs.get("keepdims", 1) != 1 for part in (mean, variance)):
        return "its mean loses an axis"
    if epsilon.const is None or epsilon.const.size != 1:
        return "epsilon is not a constant"
    each = (*[1] * (rank - 1), *groups.shape[-2:])
    if any(part.const is None or part.const.shape != each for part in (scale, bias)):
        return "scale and bias are not constants for each channel"
    return None


def after(x: Capture, groups: Capture, epsilon: Capture, scale: Capture, bias: Capture) -> Expr:
    assert x.shape is not None
    assert groups.shape is not None
    rank, sizes = len(x.shape), [int(dim) for dim in x.shape[1:] if dim is not None]
    count, channels = int(groups.shape[-2] or 0), sizes[-1]
    front = op.Transpose(x, perm=[0, rank - 1, *range(1, rank - 1)])
    rows = op.Reshape(front, np.array([0, count, prod(sizes) // count], np.int64))
    one, none = np.ones(count, np.float32), np.zeros(count, np.float32)
    value = float(np.reshape(np.asarray(epsilon.const), ()))
    even = op.InstanceNormalization(rows, one, none, epsilon=value)
    image = op.Reshape(even, np.array([0, channels, *sizes[:-1]], np.int64))
    vector = (channels, *[1] * (rank - 2))
    gain, shift = (np.asarray(part.const).reshape(vector) for part in (scale, bias))
    return op.Transpose(image * gain + shift, perm=[0, *range(2, rank), 1])
