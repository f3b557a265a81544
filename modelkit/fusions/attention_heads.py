"""Let Attention split and join its heads itself.

Why: the reshapes and transposes around 4-D heads copy every activation; the 3-D form of the
operator reads them in place.
Equal: exactly the same numbers.
"""

from modelkit.rewrite import Capture, Expr, op

OPSET = 23


def _split(x: Expr, shape: Expr, name: str) -> Expr:
    return op.Transpose(op.Reshape(x, shape).named(name), perm=[0, 2, 1, 3])


def _joined(heads: Expr, shape: Expr) -> Expr:
    return op.Reshape(op.Transpose(heads, perm=[0, 2, 1, 3]), shape).named("joined")


def masked(
    q: Expr, k: Expr, v: Expr, mask: Expr, qs: Expr, ks: Expr, vs: Expr, shape: Expr
) -> Expr:
    heads = op.Attention(_split(q, qs, "q4"), _split(k, ks, "k4"), _split(v, vs, "v4"), mask)
    return _joined(heads.named("heads"), shape)


def unmasked(q: Expr, k: Expr, v: Expr, qs: Expr, ks: Expr, vs: Expr, shape: Expr) -> Expr:
    heads = op.Attention(_split(q, qs, "q4"), _split(k, ks, "k4"), _split(v, vs, "v4"))
    return _joined(heads.named("heads"), shape)


before = (masked, unmasked)


def when(
    q: Capture,
    k: Capture,
    v: Capture,
    q4: Capture,
    k4: Capture,
    v4: Capture,
    heads: Capture,
    joined: Capture,
) -> str | None:
    if heads.node is not None and len(heads.node.outputs) > 1:
        return "its cache is in use"
    for name, whole, parts in (("query", q, q4), ("key", k, k4), ("value", v, v4)):
        if whole.shape is None or len(whole.shape) != 3:
            return f"its {name} is not known to have three axes"
        if parts.shape is None or len(parts.shape) != 4 or not isinstance(parts.shape[2], int):
            return f"the number of heads of its {name} is unknown"
        if not isinstance(whole.shape[2], int) or not isinstance(parts.shape[3], int):
            return f"the width of its {name} is unknown"
        if whole.shape[2] != parts.shape[2] * parts.shape[3]:
            return f"its {name} is split in another way than by heads"
    if joined.shape is None or len(joined.shape) != 3:
        return "its result does not have three axes"
    return None


def after(
    q: Capture, k: Capture, v: Capture, mask: Capture, q4: Capture, k4: Capture, heads: Capture
) -> Expr:
    assert q4.shape is not None
    assert k4.shape is not None
    return op.Attention(
        q, k, v, mask, **heads.attrs, q_num_heads=q4.shape[2], kv_num_heads=k4.shape[2]
    )
