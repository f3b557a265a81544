"""Let Attention split and join its heads itself.

Why: the transposes around 4-D heads copy every activation; the 3-D form of the operator reads
them in place.
Equal: exactly the same numbers.
"""

import numpy as np

from modelkit.rewrite import Capture, Expr, Operand, op

OPSET = 23

_SWAP = [0, 2, 1, 3]


def _heads(x: Expr) -> Expr:
    return op.Transpose(x, perm=_SWAP).shared()


def masked(q: Expr, k: Expr, v: Expr, mask: Operand) -> Expr:
    made = op.Attention(_heads(q), _heads(k), _heads(v), mask).named("made")
    return op.Transpose(made, perm=_SWAP)


def unmasked(q: Expr, k: Expr, v: Expr) -> Expr:
    return masked(q, k, v, None)


def cached(
    q: Expr, k: Expr, v: Expr, mask: Operand, past_key: Expr, past_value: Expr
) -> tuple[Expr, Expr, Expr]:
    whole = op.Attention(_heads(q), _heads(k), _heads(v), mask, past_key, past_value).named("made")
    made, keys, values = op.several(3, whole)
    return op.Transpose(made.named("made"), perm=_SWAP), keys, values


def cached_unmasked(
    q: Expr, k: Expr, v: Expr, past_key: Expr, past_value: Expr
) -> tuple[Expr, Expr, Expr]:
    return cached(q, k, v, None, past_key, past_value)


before = (cached, cached_unmasked, masked, unmasked)


def when(q: Capture, k: Capture, v: Capture) -> str | None:
    for name, part in (("query", q), ("key", k), ("value", v)):
        if part.shape is None or len(part.shape) != 4:
            return f"its {name} is not known to have four axes"
        if not isinstance(part.shape[2], int) or not isinstance(part.shape[3], int):
            return f"the heads of its {name} are not known"
    return None


def flat(x: Capture) -> Expr:
    """[batch, sequence, heads, width] as [batch, sequence, heads * width]."""
    heads, width = split(x)
    return op.Reshape(x, np.array([0, 0, heads * width], np.int64))


def split(x: Capture) -> tuple[int, int]:
    """The heads and the width of [batch, sequence, heads, width], which must be known."""
    assert x.shape is not None
    heads, width = x.shape[2:]
    assert isinstance(heads, int)
    assert isinstance(width, int)
    return heads, width


def after(
    q: Capture,
    k: Capture,
    v: Capture,
    mask: Capture,
    past_key: Capture,
    past_value: Capture,
    made: Capture,
) -> Expr | tuple[Expr, ...]:
    attributes = {**made.attrs, "q_num_heads": split(q)[0], "kv_num_heads": split(k)[0]}
    whole = op.Attention(flat(q), flat(k), flat(v), mask, past_key, past_value, **attributes)
    joined = np.array([0, 0, split(q)[0], split(v)[1]], np.int64)
    if past_key.value is None:
        return op.Reshape(whole, joined)
    first, keys, values = op.several(3, whole)
    return op.Reshape(first, joined), keys, values
