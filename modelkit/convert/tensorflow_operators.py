"""Operators of TensorFlow that tf2onnx does not know, told to it.

Each class is registered by tf2onnx's own decorator; its method puts ONNX operators in the place of
``node`` in tf2onnx's graph ``ctx``.
"""

from collections.abc import Iterator
from math import pi, sqrt
from typing import Any

import numpy as np
from tf2onnx.handler import tf_op, tfl_op
from tf2onnx.onnx_opset.signal import RFFT2DOp, RFFTOp
from tf2onnx.utils import map_onnx_to_numpy_type

_SIGN = np.iinfo(np.int32).min
"""The sign bit alone."""


def _const(ctx: Any, node: Any, name: str, value: np.ndarray) -> str:
    return str(ctx.make_const(f"{node.name}/{name}", value).output[0])


def _number(ctx: Any, node: Any, name: str, value: float) -> str:
    """A constant of the type of what ``node`` reads."""
    kind = map_onnx_to_numpy_type(ctx.get_dtype(node.input[0]))
    return _const(ctx, node, name, np.array(value, kind))


def _one(ctx: Any, node: Any) -> str:
    return _number(ctx, node, "one", 1.0)


def _add(ctx: Any, kind: str, *inputs: str, **attributes: Any) -> str:
    return str(ctx.make_node(kind, list(inputs), attr=attributes).output[0])


def _replace(ctx: Any, node: Any, kind: str, *inputs: str, **attributes: Any) -> None:
    """Let an operator ``kind`` make what ``node`` made."""
    (made,) = node.output
    shapes, kinds = [ctx.get_shape(made)], [ctx.get_dtype(made)]
    ctx.remove_node(node.name)
    ctx.make_node(
        kind,
        list(inputs),
        attr=attributes,
        name=node.name,
        outputs=[made],
        shapes=shapes,
        dtypes=kinds,
    )


@tf_op("Erfc")
class Erfc:
    """1 - erf(x); Keras writes its exact Gelu with it."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """By Erf, of opset 9."""
        _replace(ctx, node, "Sub", _one(ctx, node), _add(ctx, "Erf", node.input[0]))


@tfl_op(["TFL_GELU"])
class TflGelu:
    """TensorFlow Lite's Gelu, exact or by tanh."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """As x / 2 * (1 + erf(x / sqrt(2))): Gelu itself is of opset 20."""
        x = node.input[0]
        if node.get_attr_value("approximate", False):
            cube = _add(ctx, "Mul", _add(ctx, "Mul", x, x), x)
            small = _add(ctx, "Mul", cube, _number(ctx, node, "cubed", 0.044715))
            root = _number(ctx, node, "root", sqrt(2 / pi))
            curve = _add(ctx, "Tanh", _add(ctx, "Mul", _add(ctx, "Add", x, small), root))
        else:
            root = _number(ctx, node, "root", sqrt(0.5))
            curve = _add(ctx, "Erf", _add(ctx, "Mul", x, root))
        half = _add(ctx, "Mul", x, _number(ctx, node, "half", 0.5))
        _replace(ctx, node, "Mul", half, _add(ctx, "Add", curve, _one(ctx, node)))


@tf_op("Expm1")
class Expm1:
    """exp(x) - 1; in Celu.  Near 0 it keeps the error of one exp, absolute, not relative."""

    @classmethod
    def version_7(cls, ctx: Any, node: Any, **_: Any) -> None:
        """By Exp."""
        _replace(ctx, node, "Sub", _add(ctx, "Exp", node.input[0]), _one(ctx, node))


@tf_op("Log1p")
class Log1p:
    """log(1 + x); exact to the absolute error of the sum."""

    @classmethod
    def version_7(cls, ctx: Any, node: Any, **_: Any) -> None:
        """By Log."""
        _replace(ctx, node, "Log", _add(ctx, "Add", node.input[0], _one(ctx, node)))


@tf_op("Bucketize")
class Bucketize:
    """How many boundaries are at most x; Keras' Discretization."""

    @classmethod
    def version_16(cls, ctx: Any, node: Any, **_: Any) -> None:
        """By comparing with all of them; GreaterOrEqual takes what it needs from opset 16 on."""
        kind = map_onnx_to_numpy_type(ctx.get_dtype(node.input[0]))
        bounds = np.asarray(node.get_attr("boundaries").floats, kind)
        # Counted from the front: ONNX Runtime 1.31 sums an empty batch along -1 to a wrong shape.
        rank = len(ctx.get_shape(node.input[0]))
        last = _const(ctx, node, "last", np.array([rank], np.int64))
        each = _add(ctx, "Unsqueeze", node.input[0], last)
        above = _add(ctx, "GreaterOrEqual", each, _const(ctx, node, "bounds", bounds))
        counted = _add(ctx, "Cast", above, to=ctx.get_dtype(node.output[0]))
        _replace(ctx, node, "ReduceSum", counted, last, keepdims=0)


@tf_op("Bitcast")
class Bitcast:
    """The bits of a float32 as int32, of which only the sign is read: Keras' signbit and argmax."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """By x < 0 or 1 / x < 0, which tells -0 from 0; other casts are left, and refused."""
        (x,), (made,) = node.input, node.output
        kinds = (ctx.get_dtype(x), ctx.get_dtype(made))
        if tuple(map(map_onnx_to_numpy_type, kinds)) != (np.float32, np.int32):
            return
        if not all(_reads_the_sign(reader) for reader in ctx.find_output_consumers(made)):
            return
        zero = _const(ctx, node, "zero", np.zeros((), np.float32))
        below = _add(ctx, "Less", x, zero)
        also = _add(ctx, "Less", _add(ctx, "Reciprocal", x), zero)
        negative = _add(ctx, "Or", below, also)
        bits = (_const(ctx, node, name, np.array(bit, np.int32)) for name, bit in _BITS)
        _replace(ctx, node, "Where", negative, *bits)


@tf_op(["RFFT", "RFFT2D"])
class RealTransform:
    """A Fourier transform of real signals of which the real or the imaginary part is read.

    tf2onnx knows those whose magnitude is, and keeps them.
    """

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **said: Any) -> None:
        """By a product with cosines, or with sines, along the last axis."""
        readers = list(_readers(ctx, node.output[0]))
        parts = {_PARTS.get(reader.type, "") for reader in readers if reader.type not in _PASSING}
        count = _transformed(ctx, node)
        if count is None or len(parts) != 1 or not parts <= {"real", "imaginary"}:
            known = RFFT2DOp if node.type == "RFFT2D" else RFFTOp
            known.version_13(ctx, node, **said)
            return
        kind = ctx.get_dtype(node.input[0])
        angles = 2 * pi / count * np.outer(np.arange(count), np.arange(count // 2 + 1))
        matrix = np.cos(angles) if parts == {"real"} else -np.sin(angles)
        waves = _const(ctx, node, "waves", matrix.astype(map_onnx_to_numpy_type(kind)))
        ctx.set_dtype(node.output[0], kind)
        for reader in readers:
            if reader.type in _PASSING:
                ctx.set_dtype(reader.output[0], kind)
            elif reader.type != "Cast":
                reader.type = "Identity"
        _replace(ctx, node, "MatMul", node.input[0], waves)


_PASSING = ("ExpandDims", "Identity", "Reshape", "Squeeze", "StridedSlice", "Transpose")
_PARTS = {"Cast": "real", "Real": "real", "Imag": "imaginary"}


def _readers(ctx: Any, name: str) -> Iterator[Any]:
    """What reads the numbers called ``name``, also where they only lie otherwise."""
    for reader in ctx.find_output_consumers(name):
        yield reader
        if reader.type in _PASSING:
            yield from _readers(ctx, reader.output[0])


def _transformed(ctx: Any, node: Any) -> int | None:
    """How many numbers of the last axis are transformed; None: of others too, or not all."""
    shape = ctx.get_shape(node.input[0])
    if not shape or not node.inputs[1].is_const():
        return None
    lengths = np.ravel(node.inputs[1].get_tensor_value(as_list=False)).tolist()
    if lengths != shape[-len(lengths) :] or lengths[:-1] not in ([], [1]):
        return None
    return int(lengths[-1])


_BITS = (("set", _SIGN), ("clear", 0))


def _reads_the_sign(reader: Any) -> bool:
    masks = [one.get_tensor_value(as_list=False) for one in reader.inputs if one.is_const()]
    return reader.type == "BitwiseAnd" and any(np.all(mask == _SIGN) for mask in masks)
