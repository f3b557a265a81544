"""Take the mean of constants under a softmax along the last axis.

Why: ONNX Runtime's softmax along any other axis transposes twice; boxes of YOLO heads are such
means.  Here one transpose remains, and a MatMul sums.
Equal: up to float rounding.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, op

OPSET = 13
LEVEL = "all"


def summed(x: Expr, bins: Expr, axes: Expr) -> Expr:
    return op.ReduceSum(op.Softmax(x).named("softmax") * bins, axes).named("total")


def convolved(x: Expr, w: Expr) -> Expr:
    return op.Conv(op.Softmax(x).named("softmax"), w).named("conv")


before = (summed, convolved)


def when(
    x: Capture, bins: Capture, axes: Capture, w: Capture, softmax: Capture, conv: Capture
) -> str | None:
    if x.shape is None or len(x.shape) < 3:
        return "the rank of its input is unknown"
    axis = _axis(x, softmax)
    width = x.shape[axis]
    if axis == len(x.shape) - 1:
        return "it is along the last axis already"
    if not isinstance(width, int):
        return "the length of its axis is unknown"
    if w.value is not None:
        if not w.is_constant or w.shape != (1, width, *[1] * (len(x.shape) - 2)) or axis != 1:
            return "the convolution is no sum over the axis"
        attributes = conv.attrs
        if any(attributes.get("pads", ())) or set(attributes.get("strides", (1,))) != {1}:
            return "the convolution pads or strides"
        return None
    if axes.const is None or axes.const.reshape(-1).tolist() not in ([axis], [axis - len(x.shape)]):
        return "the sum is over other axes"
    if not bins.is_constant or bins.shape is None or len(bins.shape) > len(x.shape):
        return "what it weights is not a constant"
    whole = [1] * (len(x.shape) - len(bins.shape)) + list(bins.shape)
    if whole != [width if place == axis else 1 for place in range(len(x.shape))]:
        return "what it weights differs along other axes"
    return None


def _axis(x: Capture, softmax: Capture) -> int:
    axis: int = softmax.attrs.get("axis", -1)
    return axis % len(x.shape or ())


def after(x: Capture, bins: Capture, w: Capture, softmax: Capture, total: Capture) -> Expr:
    axis, rank = _axis(x, softmax), len(x.shape or ())
    order = [place for place in range(rank) if place != axis] + [axis]
    column = np.asarray(bins.const if w.value is None else w.const).reshape(-1, 1)
    shares = op.Softmax(op.Transpose(x, perm=order), axis=-1)
    mean = op.Squeeze(op.MatMul(shares, column), np.array([-1], np.int64))
    keeps = w.value is not None or total.attrs.get("keepdims", 1)
    return op.Unsqueeze(mean, np.array([axis], np.int64)) if keeps else mean
