"""Apply a RotaryEmbedding before the heads are moved to the front.

Why: the transposes that remain on both sides then cancel, or go into Attention.
Equal: exactly the same numbers.
"""

import numpy as np

from modelkit.fusions.attention_heads import flat, split
from modelkit.rewrite import Capture, Expr, op

OPSET = 23

_SWAP = [0, 2, 1, 3]


def before(x: Expr, cos: Expr, sin: Expr) -> Expr:
    return op.RotaryEmbedding(op.Transpose(x, perm=_SWAP), cos, sin).named("made")


def when(x: Capture) -> str | None:
    if x.shape is None or not all(isinstance(dim, int) for dim in x.shape[2:]):
        return "its heads are not known"
    return None


def after(x: Capture, cos: Capture, sin: Capture, made: Capture) -> Expr:
    heads, width = split(x)
    turned = op.RotaryEmbedding(flat(x), cos, sin, **{**made.attrs, "num_heads": heads})
    return op.Transpose(op.Reshape(turned, np.array([0, 0, heads, width], np.int64)), perm=_SWAP)
