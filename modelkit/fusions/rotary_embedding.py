"""Fuse a rotary position embedding into one RotaryEmbedding.

Why: seven kernels become one, 1.6-2.0x on CPU, and the angles are worked out for half the width.
Equal: up to float rounding, when both halves of the cosines and of the sines are the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from modelkit.fusions.attention_heads import flat, split
from modelkit.model import const_of
from modelkit.rewrite import Capture, Expr, op

OPSET = 23

_LARGEST = 1 << 24


class Angles(NamedTuple):
    """Half of the angles: [batch, length, width / 2], for heads on axis ``heads``, 1 or 2."""

    half: Expr
    heads: int
    batch: Any
    length: Any


def _rotated(x: Expr, cos: Expr, sin: Expr, low: Expr, high: Expr) -> Expr:
    return x * cos + op.Concat(-high, low, axis=-1).named("joined") * sin


def part_of(x: Expr, name: str, *parts: str) -> Expr:
    """A Slice of ``x`` whose operands are called NAME_starts, NAME_ends, NAME_PART ..."""
    return op.Slice(x, *(Expr(name=f"{name}_{part}") for part in ("starts", "ends", *parts)))


def sliced(x: Expr, cos: Expr, sin: Expr) -> Expr:
    low, high = (part_of(x, name, "axes", "steps") for name in ("low", "high"))
    return _rotated(x, cos, sin, low, high)


def sliced_by_one(x: Expr, cos: Expr, sin: Expr) -> Expr:
    low, high = (part_of(x, name, "axes") for name in ("low", "high"))
    return _rotated(x, cos, sin, low, high)


def split_in_two(x: Expr, cos: Expr, sin: Expr) -> Expr:
    low, high = op.several(2, op.Split(x, Expr(name="sizes")))
    return _rotated(x, cos, sin, low.named("half"), high)


def split_evenly(x: Expr, cos: Expr, sin: Expr) -> Expr:
    low, high = op.several(2, op.Split(x))
    return _rotated(x, cos, sin, low.named("half"), high)


before = (sliced, sliced_by_one, split_in_two, split_evenly)


def when(
    x: Capture,
    cos: Capture,
    sin: Capture,
    half: Capture,
    low_starts: Capture,
    low_ends: Capture,
    low_axes: Capture,
    low_steps: Capture,
    high_starts: Capture,
    high_ends: Capture,
    high_axes: Capture,
    high_steps: Capture,
) -> str | None:
    width = even_width(x)
    if isinstance(width, str):
        return width
    middle = width // 2
    if half.value is not None:
        if half.shape is None or half.shape[3] != middle:
            return "it is not split in halves"
    else:
        low = [number(part) for part in (low_starts, low_ends, low_axes, low_steps)]
        high = [number(part) for part in (high_starts, high_ends, high_axes, high_steps)]
        if low not in [[0, middle, axis, 1] for axis in (3, -1)]:
            return "its first part is not the first half"
        if high[0] != middle or (high[1] or 0) < width or high[2] not in (3, -1) or high[3] != 1:
            return "its second part is not the second half"
    cosines, sines = _half(cos), _half(sin)
    if cosines is None or sines is None:
        return "its angles are not known to be twice the same"
    return misplaced(x, cosines, sines)


def even_width(x: Capture) -> int | str:
    """The last of four axes of ``x``, or why it cannot be turned."""
    if x.dtype != ir.DataType.FLOAT or x.shape is None or len(x.shape) != 4:
        return "its input is not known to be float32 with four axes"
    width = x.shape[3]
    if not isinstance(width, int) or width % 2:
        return "its width is not known to be even"
    return width


def misplaced(x: Capture, cosines: Angles, sines: Angles) -> str | None:
    """Why ``x`` [B, N, S, W] or [B, S, N, W] is not turned by these, if they do not belong."""
    if cosines.heads != sines.heads:
        return "its cosines and sines stand along different axes"
    length = None if x.shape is None else x.shape[3 - cosines.heads]
    if length != 1 and 1 in (cosines.length, sines.length):
        return "its angles are those of one position"
    return None


def number(part: Capture) -> int | None:
    """The one number that ``part`` is, 1 where it was left out; None if it is not known."""
    if part.value is None:
        return 1
    return None if part.const is None or part.const.size != 1 else int(part.const.reshape(()))


def _half(angles: Capture) -> Angles | None:
    """The first half of ``angles``, when the second is the same."""
    shape = angles.shape
    for heads in (1, 2) if shape is not None and len(shape) == 4 else ():
        inner = before_heads(angles, heads)
        half = None if inner is None else through(inner, _written_twice)
        if shape is not None and half is not None:
            return Angles(half, heads, shape[0], shape[3 - heads])
    return None


def before_heads(angles: Capture, heads: int) -> ir.Value | None:
    """What was given the axis ``heads`` by an Unsqueeze; None if ``angles`` was not made so."""
    node = angles.node
    if node is None or node.op_type != "Unsqueeze" or len(node.inputs) < 2:
        return None
    axes = const_of(node.inputs[1])
    return node.inputs[0] if axes is not None and axes.reshape(-1).tolist() == [heads] else None


def _written_twice(value: ir.Value) -> Expr | None:
    """The first half of the last axis, when the second is the same."""
    if value.const_value is not None:
        return one_of(value, lambda array: np.split(array, 2, axis=-1))
    node = value.producer()
    if node is None or node.op_type != "Concat" or len(node.inputs) != 2:
        return None
    axis = node.attributes.get_int("axis")
    is_last = axis == -1 or (value.shape is not None and axis == len(value.shape) - 1)
    return Capture(node.inputs[0]) if is_last and node.inputs[0] is node.inputs[1] else None


def through(value: ir.Value, half: Callable[[ir.Value], Expr | None]) -> Expr | None:
    """What ``value`` computes of numbers written twice, of the ``half`` of them.

    Sines, scales and rows of tables do not see the last axis.
    """
    found, node = half(value), value.producer()
    if found is not None or node is None or node.domain not in ("", "ai.onnx"):
        return found
    if node.op_type in ("Cos", "Sin", "Cast"):
        inner = None if node.inputs[0] is None else through(node.inputs[0], half)
        return None if inner is None else Expr(node.op_type, (inner,), _attributes(node))
    if node.op_type == "Mul":
        return _scaled(node, half)
    if node.op_type == "Gather" and node.attributes.get_int("axis", 0) == 0:
        return _gathered(node, half)
    return None


def _scaled(node: ir.Node, half: Callable[[ir.Value], Expr | None]) -> Expr | None:
    for value, factor in (tuple(node.inputs), tuple(node.inputs)[::-1]):
        array = None if factor is None or value is None else const_of(factor)
        if array is not None and array.size == 1 and value is not None:
            inner = through(value, half)
            return None if inner is None else inner * Capture(factor)
    return None


def _gathered(node: ir.Node, half: Callable[[ir.Value], Expr | None]) -> Expr | None:
    table, index = node.inputs
    if table is None or table.shape is None or len(table.shape) != 2:
        return None
    inner = through(table, half)
    return None if inner is None else op.Gather(inner, Capture(index), axis=0)


def one_of(value: ir.Value, parts: Callable[[np.ndarray], Sequence[np.ndarray]]) -> Expr | None:
    """The first of the two ``parts`` of the last axis of a constant, when both are the same."""
    if value.const_value is None or value.const_value.size > _LARGEST:
        return None
    array = const_of(value)
    if array is None or array.ndim == 0 or array.shape[-1] % 2:
        return None
    one, other = parts(array)
    return op.Identity(np.ascontiguousarray(one)) if np.array_equal(one, other) else None


def _attributes(node: ir.Node) -> dict[str, Any]:
    return {key: attribute.value for key, attribute in node.attributes.items()}


def after(x: Capture, cos: Capture, sin: Capture) -> Expr:
    return turned(x, _half(cos), _half(sin))


def turned(x: Capture, cosines: Angles | None, sines: Angles | None, **attributes: int) -> Expr:
    """RotaryEmbedding of ``x`` [B, N, S, W], or [B, S, N, W] if the heads are on axis 2."""
    assert x.shape is not None and cosines is not None and sines is not None
    c, s = cosines.half, sines.half
    if cosines.batch != x.shape[0]:  # ONNX Runtime's kernel wants one row of angles for each sample
        rows = op.Concat(op.Shape(x, start=0, end=1), np.array([1, 1], np.int64), axis=0)
        c, s = op.Expand(c, rows), op.Expand(s, rows)
    if cosines.heads == 1:
        return op.RotaryEmbedding(x, c, s, **attributes)
    heads, width = split(x)
    made = op.RotaryEmbedding(flat(x), c, s, num_heads=heads, **attributes)
    return op.Reshape(made, np.array([0, 0, heads, width], np.int64))
