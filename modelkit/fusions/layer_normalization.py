"""Fuse the parts of a layer normalization into one LayerNormalization.

Why: nine kernels become one; exporters below opset 17 and tf2onnx write the parts.
Equal: up to float rounding, when mean and variance are over the last axis alone.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, either, op

OPSET = 17


def with_axes_input(x: Expr, axes: Expr, epsilon: Expr, scale: Expr, bias: Expr) -> Expr:
    difference = x - op.ReduceMean(x, axes)
    square = either(difference**2.0, difference * difference)
    deviation = op.Sqrt(op.ReduceMean(square, axes) + epsilon)
    return (difference / deviation) * scale + bias


def with_axes_attribute(x: Expr, epsilon: Expr, scale: Expr, bias: Expr) -> Expr:
    difference = x - op.ReduceMean(x).named("mean")
    square = either(difference**2.0, difference * difference)
    deviation = op.Sqrt(op.ReduceMean(square).named("variance") + epsilon)
    return (difference / deviation) * scale + bias


before = (with_axes_input, with_axes_attribute)


def when(
    x: Capture,
    axes: Capture,
    mean: Capture,
    variance: Capture,
    epsilon: Capture,
    scale: Capture,
    bias: Capture,
) -> str | None:
    if x.shape is None:
        return "the rank of its input is unknown"
    for found in _axes(axes, mean, variance):
        if found not in ([-1], [len(x.shape) - 1]):
            return f"it is over axes {found}, not the last one"
    if epsilon.const is None or epsilon.const.size != 1:
        return "epsilon is not a constant"
    width = x.shape[-1]
    for name, value in (("scale", scale), ("bias", bias)):
        if value.shape is None or list(value.shape) != [width]:
            return f"{name} is not a vector of the last axis"
    return None


def _axes(axes: Capture, mean: Capture, variance: Capture) -> list[list[int] | None]:
    if axes.value is not None:
        return [None if axes.const is None else axes.const.reshape(-1).tolist()]
    return [list(part.attrs.get("axes", ())) for part in (mean, variance)]


def after(x: Capture, epsilon: Capture, scale: Capture, bias: Capture) -> Expr:
    assert epsilon.const is not None
    value = float(np.reshape(epsilon.const, ()))
    return op.LayerNormalization(x, scale, bias, axis=-1, epsilon=value)
