"""Fuse a rotary position embedding that turns neighbours into one RotaryEmbedding.

Why: eight kernels, two of which pick every other number, become one: 1.7x (one token) to 5.9x on
CPU.  GPT-J, Cohere's and GLM models turn neighbours, [a, b, ...] to [-b, a, ...], where Llama
turns halves (``rotary_embedding``).
Equal: up to float rounding, when cosines and sines are written twice, one beside the other.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.fusions.rotary_embedding import (
    LARGEST,
    constant,
    number,
    one_position,
    through,
    turned,
)
from modelkit.model import const_of
from modelkit.rewrite import Capture, Expr, op

OPSET = 23

_SLICE = ("starts", "ends", "axes", "steps")


def _every_other(x: Expr, name: str) -> Expr:
    return op.Slice(x, *(Expr(name=f"{name}_{part}") for part in _SLICE))


def before(x: Expr, cos: Expr, sin: Expr, last: Expr, shape: Expr) -> Expr:
    even, odd = (_every_other(x, name) for name in ("even", "odd"))
    pairs = op.Concat(op.Unsqueeze(-odd, last), op.Unsqueeze(even, last)).named("pairs")
    return x * cos + op.Reshape(pairs, shape).named("joined") * sin


def when(
    x: Capture, cos: Capture, sin: Capture, last: Capture, pairs: Capture, joined: Capture,
    even_starts: Capture, even_ends: Capture, even_axes: Capture, even_steps: Capture,
    odd_starts: Capture, odd_ends: Capture, odd_axes: Capture, odd_steps: Capture,
) -> str | None:  # fmt: skip
    if x.dtype != ir.DataType.FLOAT or x.shape is None or len(x.shape) != 4:
        return "its input is not known to be float32 with four axes"
    width = x.shape[3]
    if not isinstance(width, int) or width % 2:
        return "its width is not known to be even"
    starts, steps = ((even_starts, odd_starts), (even_steps, odd_steps))
    if [number(part) for part in (*starts, *steps)] != [0, 1, 2, 2]:
        return "it does not take every other number"
    if any(number(axis) not in (3, -1) for axis in (even_axes, odd_axes)):
        return "it does not take every other number"
    if any((number(end) or 0) < width for end in (even_ends, odd_ends)):
        return "it does not take all numbers"
    if number(last) not in (4, -1) or pairs.attrs.get("axis") not in (4, -1):
        return "what it takes is not put side by side again"
    if joined.shape is None or joined.shape != x.shape or None in x.shape:
        return "its parts are not known to get the shape of its input"
    cosines, sines = _angles(cos), _angles(sin)
    if cosines is None or sines is None:
        return "its angles are not known to be each written twice, side by side"
    if cosines[1] != sines[1]:
        return "its cosines and sines stand along different axes"
    return one_position(x, cos, sin, cosines[1])


def _angles(angles: Capture) -> tuple[Expr, int, Any] | None:
    """Every other angle [batch, sequence, width / 2], the axis of the heads, and the batch."""
    shape = angles.shape
    if angles.value is None or shape is None or len(shape) != 4 or 1 not in shape[1:3]:
        return None
    axis, node = 1 if shape[1] == 1 else 2, angles.node
    if node is not None and node.op_type == "Unsqueeze" and node.inputs[0] is not None:
        axes = const_of(node.inputs[1])
        if axes is not None and axes.reshape(-1).tolist() == [axis]:
            half = through(node.inputs[0], _repeated)
            return None if half is None else (half, axis, shape[0])
    half = through(angles.value, _repeated)
    return None if half is None else (op.Squeeze(half, np.array([axis])), axis, shape[0])


def _repeated(value: ir.Value) -> Expr | None:
    """One of each two neighbours on the last axis, when they are the same."""
    if value.const_value is not None:
        array = const_of(value) if value.const_value.size <= LARGEST else None
        if array is None or array.ndim == 0 or array.shape[-1] % 2:
            return None
        one, other = array[..., ::2], array[..., 1::2]
        return constant(one) if np.array_equal(one, other) else None
    joined = Capture(value)
    wide = _input_of(joined, "Reshape")
    thin = _input_of(wide, "Expand", "Tile", "Concat")
    source = _input_of(thin, "Unsqueeze")
    before, after, made = thin.shape, wide.shape, joined.shape
    if source.value is None or not before or after is None or made is None or None in before:
        return None
    axes = const_of(thin.node.inputs[1]) if thin.node is not None else None
    rank, width = len(before), before[-2] if len(before) > 1 else None
    if axes is None or not isinstance(width, int) or after != (*before[:-1], 2):
        return None
    added = sorted(int(axis) % rank for axis in axes.reshape(-1))
    if added[-1] != rank - 1 or made != (*before[:-2], 2 * width):
        return None
    return op.Unsqueeze(source, np.array(added[:-1])) if added[:-1] else source


def _input_of(made: Capture, *kinds: str) -> Capture:
    """What an operator of ``kinds`` reads, or a Concat reads twice; else nothing."""
    node = made.node
    if node is None or node.op_type not in kinds:
        return Capture(None)
    is_mixed = node.op_type == "Concat" and len(set(node.inputs)) > 1
    return Capture(None if is_mixed else node.inputs[0])


def after(x: Capture, cos: Capture, sin: Capture) -> Expr:
    (c, axis, batch), (s, _, _) = _angles(cos), _angles(sin)  # type: ignore[misc]
    return turned(x, c, s, axis, batch, interleaved=1)
