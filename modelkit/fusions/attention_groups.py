"""Let Attention share each key and value head among several query heads itself.

Why: exporters repeat the heads by Unsqueeze, Expand and Reshape, a copy of the whole cache at
every step; grouped-query attention is native to the operator.
Equal: exactly the same numbers.
"""

from modelkit.rewrite import Capture, Expr, Operand, op

OPSET = 23


def _repeated(x: Expr, name: str) -> Expr:
    narrow = op.Unsqueeze(x, Expr(name=f"{name}_axis")).named(f"{name}_narrow")
    wide = op.Expand(narrow, Expr()).named(f"{name}_wide")
    return op.Reshape(wide, Expr()).named(name)


def masked(q: Expr, k: Expr, v: Expr, mask: Operand) -> Expr:
    return op.Attention(q, _repeated(k, "keys"), _repeated(v, "values"), mask).named("made")


def unmasked(q: Expr, k: Expr, v: Expr) -> Expr:
    return masked(q, k, v, None)


before = (masked, unmasked)


def when(
    keys: Capture,
    values: Capture,
    keys_axis: Capture,
    values_axis: Capture,
    keys_narrow: Capture,
    values_narrow: Capture,
    keys_wide: Capture,
    values_wide: Capture,
) -> str | None:
    parts = (
        ("key", keys_narrow, keys_axis, keys_wide, keys),
        ("value", values_narrow, values_axis, values_wide, values),
    )
    for name, narrow, axis, wide, whole in parts:
        if axis.const is None or axis.const.reshape(-1).tolist() != [2]:
            return f"its {name} heads are not repeated one by one"
        if narrow.shape is None or wide.shape is None or whole.shape is None:
            return f"the shape of its {name} is unknown"
        if len(narrow.shape) != 5 or len(wide.shape) != 5:
            return f"its {name} does not have four axes"
        batch, heads, _, length, width = narrow.shape
        repeats = wide.shape[2]
        if not isinstance(heads, int) or not isinstance(repeats, int):
            return f"the number of its {name} heads is unknown"
        if wide.shape != (batch, heads, repeats, length, width):
            return f"its {name} is repeated along other axes too"
        if whole.shape != (batch, heads * repeats, length, width):
            return f"its {name} is not split by heads"
    return None


def after(q: Capture, k: Capture, v: Capture, mask: Capture, made: Capture) -> Expr:
    return op.Attention(q, k, v, mask, **made.attrs)
