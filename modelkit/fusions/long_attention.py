"""Give long Attention without a mask to MultiHeadAttention.

Why: on CPUs ONNX Runtime computes that in tiles that stay in the cache (FlashAttention, arXiv
2205.14135), and never holds the scores of all queries and keys, 9 MB a head at 1500 tokens.
Equal: up to float rounding.
"""

import onnx_ir as ir

from modelkit.fusions.multi_head_attention import attributes, unlike
from modelkit.fusions.skip_layer_normalization import MICROSOFT
from modelkit.rewrite import Capture, Expr, op

OPSET = 23
LEVEL = "all"
ORDER = 31  # what can take its projections along did
SHORTEST = 1024  # tokens; below, holding all scores costs less than tiling them


def before(q: Expr, k: Expr, v: Expr) -> Expr:
    return op.Attention(q, k, v).named("made")


def when(q: Capture, k: Capture, v: Capture, made: Capture) -> str | None:
    for part in (q, k, v):
        if part.shape is None or len(part.shape) != 3:
            return "its heads are not laid flat"
        length = part.shape[1]
        if not isinstance(length, int) or length < SHORTEST:
            return f"it is not known to have {SHORTEST} queries and keys"
    if q.dtype != ir.DataType.FLOAT:
        return "it is not in float32"
    if made.attrs.get("is_causal", 0):
        return "it is causal, which is not computed in tiles"
    return unlike(q, k, made)


def after(q: Capture, k: Capture, v: Capture, made: Capture) -> Expr:
    return op.MultiHeadAttention(q, k, v, _domain=MICROSOFT, **attributes(made))
