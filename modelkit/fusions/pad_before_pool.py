"""Write the zero padding before a pooling as the smallest number above zero.

Why: ONNX Runtime up to 1.31 gives a padding by zeros to the pooling behind it, where the padding of
a maximum counts as minus infinity: windows at the border that hold negative numbers only give those
instead of zero.  Behind ceil_mode even the shape changes, and with paddings as wide as the kernel
the model does not open.  It does not look for other numbers.
Equal: up to that number, 1.2e-38 in float32.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "basic"
ORDER = 40  # what merges a padding into something else goes first

_TINY = {
    ir.DataType.FLOAT: np.array(np.finfo(np.float32).tiny, np.float32),
    ir.DataType.DOUBLE: np.array(np.finfo(np.float64).tiny),
    ir.DataType.FLOAT16: np.array(np.finfo(np.float16).smallest_subnormal, np.float16),
}
_NOT_NEGATIVE = ("Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt")


def _pool(kind: str) -> Callable[[Expr], Expr]:
    def pool(x: Expr) -> Expr:
        p, v = Expr(name="p"), Expr(name="v")
        paddings = (op.Pad(x, p, v), op.Pad(x, p), op.Pad(x))
        return Expr(kind, (either(*(each.named("pad") for each in paddings)),)).named("pool")

    return pool


before = tuple(_pool(kind) for kind in ("MaxPool", "AveragePool"))


def when(x: Capture, p: Capture, v: Capture, pad: Capture, pool: Capture) -> str | None:
    if x.dtype not in _TINY or pad.attrs.get("mode", "constant") != "constant":
        return ""
    if (v.value is not None and (v.const is None or v.const.any())) or pad.attrs.get("value", 0.0):
        return ""
    if p.value is None and x.dtype == ir.DataType.FLOAT16:
        return ""  # as an attribute the value is float32
    pads = pad.attrs.get("pads", ()) if p.value is None else p.const
    if pads is None or any(item < 0 for item in np.reshape(pads, -1)):
        return ""
    widest = max(np.reshape(pads, -1), default=0) + max(pool.attrs.get("pads", ()), default=0)
    is_wide = widest >= min(pool.attrs.get("kernel_shape", ()), default=0)
    steps = max(pool.attrs.get("strides", ()), default=1)
    if (pool.attrs.get("ceil_mode", 0) and steps > 1) or is_wide:
        return None
    assert pool.node is not None
    is_harmless = pool.node.op_type == "AveragePool" or _is_never_negative(x)
    return "" if is_harmless else None


def _is_never_negative(x: Capture) -> bool:
    return x.node is not None and x.node.op_type in _NOT_NEGATIVE


def after(x: Capture, p: Capture, pad: Capture, pool: Capture) -> Expr:
    assert x.dtype is not None and pool.node is not None
    if p.value is None:
        padded = op.Pad(x, **{**pad.attrs, "value": float(np.finfo(np.float32).tiny)})
    else:
        padded = op.Pad(x, p, _TINY[x.dtype], **pad.attrs)
    return Expr(pool.node.op_type, (padded,), pool.attrs)
