"""Give the heads of Attention to MultiHeadAttention.

Why: the CUDA and TensorRT providers have flash and memory-efficient kernels for it.  On CPUs it
loses to Attention.
Equal: up to float rounding.
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.attention import ALMOST_LOWEST, fills
from modelkit.fusions.skip_layer_normalization import MICROSOFT
from modelkit.model import const_of
from modelkit.rewrite import Capture, Expr, Operand, op

OPSET = 23
LEVEL = "all"
ORDER = 31  # what can take its projections along did


def masked(q: Expr, k: Expr, v: Expr, mask: Operand) -> Expr:
    return op.Attention(q, k, v, mask).named("made")


def unmasked(q: Expr, k: Expr, v: Expr) -> Expr:
    return masked(q, k, v, None)


before = (masked, unmasked)


def when(q: Capture, k: Capture, v: Capture, mask: Capture, made: Capture) -> str | None:
    for part in (q, k, v):
        if part.shape is None or len(part.shape) != 3 or None in part.shape:
            return "its heads are not laid flat"
    return unfit(q, k, mask, made)


def unlike(q: Capture, k: Capture, made: Capture) -> str | None:
    """Why the contrib operators do not compute what the Attention ``made`` does, its mask aside."""
    assert q.shape is not None
    assert k.shape is not None
    if q.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return "it is neither float32 nor float16"
    said = made.attrs
    if said.get("q_num_heads", 0) != said.get("kv_num_heads", 0) or not said.get("q_num_heads"):
        return "its queries and keys do not have the same number of heads"
    if said.get("softcap", 0.0) or said.get("qk_matmul_output_mode", 0):
        return "it bounds or gives out its scores"
    if said.get("is_causal", 0) and q.shape[1] != k.shape[1]:
        return "it is causal, and its queries and keys are not known to be equally many"
    return None


def unfit(q: Capture, k: Capture, mask: Capture, made: Capture) -> str | None:
    """Why the contrib operators cannot take the place of the Attention ``made``."""
    assert q.shape is not None
    assert k.shape is not None
    reason = unlike(q, k, made)
    if reason is not None or mask.value is None:
        return reason
    if mask.dtype != q.dtype:
        return "its mask is not of the type of its input"
    if mask.shape is None or len(mask.shape) not in (2, 4):
        return "its mask has neither two nor four axes"
    if mask.shape[-2:] != (q.shape[1], k.shape[1]):
        return "its mask is not known to have a number for every query and key"
    # A row forbidden whole gives 0 in Attention; NaN or the mean here (measured, 1.31).
    if not _is_lifted(mask) and fills(mask.value) & {"-inf", "lowest", "unknown"}:
        return "its mask may forbid all keys of a query"
    return None


def _is_lifted(mask: Capture) -> bool:
    """Whether nothing in the mask is as low as the numbers that stand for "never"."""
    node = mask.node
    if node is not None and node.op_type == "Expand" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.op_type != "Max":
        return False
    found = [const_of(value) for value in node.inputs]
    return any(array is not None and array.min() >= ALMOST_LOWEST for array in found)


def after(q: Capture, k: Capture, v: Capture, mask: Capture, made: Capture) -> Expr:
    bias = bias_of(mask)
    return op.MultiHeadAttention(q, k, v, None, None, bias, _domain=MICROSOFT, **attributes(made))


def bias_of(mask: Capture) -> Operand:
    """The mask with the four axes that the contrib operators want."""
    if mask.value is None:
        return None
    assert mask.shape is not None
    return mask if len(mask.shape) == 4 else op.Unsqueeze(mask, np.array([0, 1], np.int64))


def attributes(made: Capture) -> dict[str, int | float]:
    """Heads, scale and causality as the contrib operators call them."""
    said = made.attrs
    found: dict[str, int | float] = {"num_heads": int(said["q_num_heads"])}
    if "scale" in said:
        found["scale"] = float(said["scale"])
    if said.get("is_causal", 0):
        found["unidirectional"] = 1
    return found
