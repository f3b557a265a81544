"""Fuse the parts of a layer normalization into one LayerNormalization.

Why: nine kernels become one; exporters below opset 17 and tf2onnx write the parts.  Over the
channels of images it is that of rows that are moved there and back, which convolutions as linear
layers and their neighbours then take along.
Equal: up to float rounding, when mean and variance are over the last axis or the channels alone.
"""

from collections.abc import Callable, Iterable

import numpy as np

from modelkit.rewrite import Capture, Expr, either, op

OPSET = 17


def _normalized(
    x: Expr, mean: Expr, variance: Callable[[Expr], Expr], rest: tuple[Expr, Expr, Expr]
) -> Expr:
    """(x - mean) / deviation * scale + bias, and so with the scale folded into the deviation.

    ``rest`` are epsilon, scale and bias.
    """
    epsilon, scale, bias = rest
    difference = x - mean
    square = either(difference**2.0, difference * difference)
    deviation = op.Sqrt(variance(square) + epsilon)
    factor = either(op.Reciprocal(deviation), 1.0 / deviation) * scale
    shift = either((-mean) * factor + bias, bias - mean * factor)
    return either((difference / deviation) * scale + bias, x * factor + shift)


def with_axes_input(x: Expr, axes: Expr, epsilon: Expr, scale: Expr, bias: Expr) -> Expr:
    mean = op.ReduceMean(x, axes).named("mean")

    def variance(square: Expr) -> Expr:
        return op.ReduceMean(square, axes).named("variance")

    return _normalized(x, mean, variance, (epsilon, scale, bias))


def with_axes_attribute(x: Expr, epsilon: Expr, scale: Expr, bias: Expr) -> Expr:
    mean = op.ReduceMean(x).named("mean")

    def variance(square: Expr) -> Expr:
        return op.ReduceMean(square).named("variance")

    return _normalized(x, mean, variance, (epsilon, scale, bias))


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
    rank = len(x.shape)
    for found in _axes(axes, mean, variance):
        if found is None or len(found) != 1 or found[0] % rank not in places(rank):
            return f"it is over axes {found}, not the last one or the channels"
    if any(part.attrs.get("keepdims", 1) != 1 for part in (mean, variance)):
        return "its mean loses an axis"
    if epsilon.const is None or epsilon.const.size != 1 or epsilon.const.ndim > rank:
        return "epsilon is not a constant number"
    axis = _axis(axes, mean, rank)
    if x.shape[axis] in (None, 0):
        return "the length of the normalized axis is not known"
    for name, value in (("scale", scale), ("bias", bias)):
        if not is_vector(value, x, axis):
            return f"{name} is not a vector of the normalized axis"
    return None


def places(rank: int) -> set[int]:
    """The last axis, and that of the channels of an image."""
    return {rank - 1, *([1] if rank in (3, 4, 5) else [])}


def _axes(axes: Capture, mean: Capture, variance: Capture) -> list[list[int] | None]:
    if axes.value is not None:
        return [None if axes.const is None else axes.const.reshape(-1).tolist()]
    return [list(part.attrs.get("axes", ())) for part in (mean, variance)]


def _axis(axes: Capture, mean: Capture, rank: int) -> int:
    found = _axes(axes, mean, mean)[0]
    assert found is not None
    return found[0] % rank


def is_vector(value: Capture, x: Capture, axis: int) -> bool:
    """Whether ``value`` holds a number for each place along ``axis`` of ``x``."""
    assert x.shape is not None
    if axis == len(x.shape) - 1 and value.shape == (x.shape[axis],):
        return True
    whole = tuple(dim if place == axis else 1 for place, dim in enumerate(x.shape))
    return value.is_constant and value.aligned(len(x.shape)) == whole


def after(
    x: Capture, axes: Capture, mean: Capture, epsilon: Capture, scale: Capture, bias: Capture
) -> Expr:
    assert x.shape is not None
    axis = _axis(axes, mean, len(x.shape))
    return normalized("LayerNormalization", x, axis, epsilon, (scale, bias))


def normalized(
    kind: str, x: Capture, axis: int, epsilon: Capture, vectors: Iterable[Capture]
) -> Expr:
    """Operator ``kind`` over the last axis of ``x``; over its channels, of rows moved there."""
    assert x.shape is not None
    assert epsilon.const is not None
    rank, value = len(x.shape), float(np.reshape(epsilon.const, ()))
    flat = tuple(part if len(part.shape or ()) == 1 else _flat(part) for part in vectors)
    if axis == rank - 1:
        return Expr(kind, (x, *flat), {"axis": -1, "epsilon": value})
    moved = op.Transpose(x, perm=[0, *range(2, rank), 1])
    rows = Expr(kind, (moved, *flat), {"axis": -1, "epsilon": value})
    return op.Transpose(rows, perm=[0, rank - 1, *range(1, rank - 1)])


def _flat(part: Capture) -> np.ndarray:
    return np.asarray(part.const).reshape(-1)
