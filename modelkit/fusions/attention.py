"""Fuse scaled dot-product attention into one Attention of 4-D heads.

Why: seven kernels become one, 1.7-2.6x on CPU.  The scales of torch's exporters (on the query, on
the key, on the scores) become the attribute; the guard against rows of NaN goes.
Equal: up to float rounding.  A row of the mask that forbids every key by -inf gives 0 in the
kernel, as the guard against NaN gives; by the lowest float it gives the mean of the values in
softmax but 0 in the kernel, so the mask is first lifted a little above that number, which any
score still vanishes in; where both stand in one row, or two of the lowest were added, -inf stays.
"""

import numpy as np
import onnx_ir as ir

from modelkit.model import const_of
from modelkit.rewrite import Capture, Expr, either, op

OPSET = 23

# ONNX Runtime's kernel takes the lowest float, but not this, for "never" (measured, 1.31).
ALMOST_LOWEST = -3e38
_DEEPEST = 12
_MIXING = ("Conv", "Einsum", "Gemm", "LayerNormalization", "MatMul", "RMSNormalization", "Sigmoid",
           "Softmax", "Tanh")  # fmt: skip
"""What they make of activations are positions or gates, no numbers that forbid."""


def _scores(q: Expr, kt: Expr, q_scale: Expr, k_scale: Expr, scale: Expr) -> Expr:
    query = either(q * q_scale, q / q_scale.named("q_divisor"), q)
    key = either(kt * k_scale, kt / k_scale.named("k_divisor"), kt)
    product = op.MatMul(query, key)
    return either(product / scale.named("divisor"), product * scale, product)


def _weighted(scores: Expr, v: Expr) -> Expr:
    share = op.Softmax(scores, axis=-1).named("share")
    guarded = op.Where(op.IsNaN(share), 0.0, share)
    return op.MatMul(either(guarded.named("guard"), share), v)


def masked(
    q: Expr, kt: Expr, v: Expr, mask: Expr, q_scale: Expr, k_scale: Expr, scale: Expr
) -> Expr:
    return _weighted(_scores(q, kt, q_scale, k_scale, scale) + mask, v)


def unmasked(q: Expr, kt: Expr, v: Expr, q_scale: Expr, k_scale: Expr, scale: Expr) -> Expr:
    return _weighted(_scores(q, kt, q_scale, k_scale, scale), v)


before = (masked, unmasked)


def when(
    q: Capture,
    kt: Capture,
    v: Capture,
    mask: Capture,
    guard: Capture,
    q_scale: Capture,
    k_scale: Capture,
    scale: Capture,
    q_divisor: Capture,
    k_divisor: Capture,
    divisor: Capture,
) -> str | None:
    for name, part in (("query", q), ("key", kt), ("value", v)):
        if part.shape is None or len(part.shape) != 4:
            return f"its {name} is not known to have four axes"
    if q.dtype != ir.DataType.FLOAT:
        return "it is not float32"
    for part in (q_scale, k_scale, scale, q_divisor, k_divisor, divisor):
        if part.value is None or (part is scale and _is_by_head(scale, q)):
            continue
        if part.const is None or part.const.size != 1:
            return "a scale is not a constant number"
    if mask.value is None:
        return None
    if mask.shape is None or not 2 <= len(mask.shape) <= 4:
        return "the rank of its mask is unknown"
    if guard.value is not None and "unknown" in fills(mask.value):
        return "its mask comes from outside, and its fill value is unknown"
    return None


def _is_by_head(scale: Capture, q: Capture) -> bool:
    """Whether scores are multiplied by a number for each head, as the cosines of Swin v2 are."""
    if scale.const is None or q.shape is None or not 3 <= scale.const.ndim <= 4:
        return False
    return scale.const.shape[-3:] == (q.shape[1], 1, 1) and scale.const.size == q.shape[1]


def fills(mask: ir.Value) -> set[str]:
    """By which numbers a mask forbids: "-inf", "lowest", "unknown"; "sum" if it adds such masks."""
    found, sums = _found(mask)
    if "lowest" in found and any(_forbids_twice(each) for each in sums):
        found.add("sum")
    return found


def _forbids_twice(node: ir.Node) -> bool:
    """Whether more than one operand of a sum may forbid."""
    return sum(each is not None and bool(_found(each)[0]) for each in node.inputs) > 1


def _found(mask: ir.Value) -> tuple[set[str], list[ir.Node]]:
    """The numbers a mask may forbid by, and the sums among what makes it."""
    found: set[str] = set()
    sums: list[ir.Node] = []
    waiting, seen = [(mask, 0)], {mask}
    while waiting:
        value, depth = waiting.pop()
        array = const_of(value) if _is_small(value) else None
        if array is not None:
            if array.dtype.kind == "f" and array.size and not np.isnan(array).any():
                least = float(array.min())
                found |= {"-inf"} if least == -np.inf else set()
                found |= {"lowest"} if -np.inf < least <= ALMOST_LOWEST else set()
            continue
        is_float = value.dtype is not None and value.dtype.is_floating_point()
        node = value.producer()
        if node is None or depth > _DEEPEST:
            found |= {"unknown"} if is_float else set()
            continue
        if node.op_type in ("Add", "Sum") and is_float:
            sums.append(node)
        if is_float and _may_be_infinite(node):
            found.add("-inf")
        for operand in node.inputs:
            # What is no float chooses between numbers or counts; none of it is a lowest float.
            if operand is not None and operand not in seen and _may_fill(operand, node):
                seen.add(operand)
                waiting.append((operand, depth + 1))
    return found, sums


def _may_be_infinite(node: ir.Node) -> bool:
    if node.op_type == "Div":
        divisor = const_of(node.inputs[1])
        return divisor is None or not divisor.all()
    return node.op_type in ("Log", "Reciprocal")


def _may_fill(value: ir.Value, user: ir.Node) -> bool:
    if user.op_type in _MIXING and value.const_value is None:
        return False
    return value.dtype is None or value.dtype.is_floating_point()


def _is_small(value: ir.Value) -> bool:
    return value.const_value is None or value.const_value.size <= 1 << 20


def after(
    q: Capture,
    kt: Capture,
    v: Capture,
    mask: Capture,
    q_scale: Capture,
    k_scale: Capture,
    scale: Capture,
    q_divisor: Capture,
    k_divisor: Capture,
    divisor: Capture,
) -> Expr:
    factor = 1.0
    query: Expr = q
    if scale.const is not None and scale.const.size > 1:
        query, scale = q * scale, Capture(None)  # fewer products than of all scores
    for part in (q_scale, k_scale, scale):
        factor *= _number(part)
    for part in (q_divisor, k_divisor, divisor):
        factor /= _number(part)
    key = op.Transpose(kt, perm=[0, 1, 3, 2])
    return op.Attention(query, key, v, _full_mask(mask, q), scale=factor)


def _number(part: Capture) -> float:
    return 1.0 if part.const is None else float(part.const.reshape(()))


def _full_mask(mask: Capture, q: Capture) -> Expr | None:
    """The mask with one row a query: ONNX Runtime's kernel refuses one row for all of them."""
    if mask.value is None:
        return None
    assert mask.shape is not None
    lifted: Expr = mask
    found = fills(mask.value)
    if found & {"lowest", "unknown"}:
        lifted = op.Max(mask, np.array(ALMOST_LOWEST, np.float32))
    if "lowest" in found and found & {"-inf", "sum"}:
        # Beside the lowest float, -inf has no share.
        lifted = op.Where(op.IsInf(mask), mask, lifted)
    if mask.shape[-2] != 1:
        return lifted
    rows = op.Shape(q, start=2, end=3)
    ones = np.ones(len(mask.shape) - 2, np.int64)
    return op.Expand(lifted, op.Concat(ones, rows, np.ones(1, np.int64), axis=0))
