"""Keep a squeeze-and-excite block in the blocked layout of the convolutions around it.

Why: ONNX Runtime leaves its blocked layout for what it has no blocked kernel for: a mean that is no
pool, a squeeze to a number of channels that fills no block, a product of unequal shapes.  The mean
therefore becomes a pool, the squeeze gets channels that are zero, and ``gate_as_image`` sees to the
product: 1.05-1.16x on EfficientNets together.
Equal: up to float rounding.
"""

from collections.abc import Callable

import numpy as np

from modelkit.fusions.gate_as_image import unfit
from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.rewrite import Capture, Expr, convolution, either, op

OPSET = 11
LEVEL = "all"
ORDER = -1  # before silu takes the activation of the squeeze


def _mean(x: Expr) -> Expr:
    axes = [np.array(pair, np.int64) for pair in ((2, 3), (-2, -1), (-1, -2))]
    means = [op.ReduceMean(x, pair, keepdims=1) for pair in axes]
    means += [op.ReduceMean(x, axes=list(pair), keepdims=1) for pair in axes]
    return either(op.GlobalAveragePool(x).named("pool"), *means)


def _block(activation: Callable[[Expr], Expr], gate: str) -> Callable[..., Expr]:
    def block(x: Expr, w1: Expr, b1: Expr, w2: Expr, b2: Expr) -> Expr:
        small = convolution(_mean(x), w1, b1, "squeeze")
        wide = convolution(activation(small), w2, b2, "excite")
        return x * Expr(gate, (wide,)).named("gate")

    return block


def _silu(x: Expr) -> Expr:
    return (x * op.Sigmoid(x)).named("silu")


before = tuple(
    _block(kind, gate) for kind in (_silu, op.Relu) for gate in ("Sigmoid", "HardSigmoid")
)


def when(
    x: Capture,
    w1: Capture,
    b1: Capture,
    w2: Capture,
    b2: Capture,
    squeeze: Capture,
    excite: Capture,
    pool: Capture,
) -> str | None:
    reason = unfit(x)
    if reason is not None:
        return reason
    biases = [part for part in (b1, b2) if part.value is not None]
    if not all(part.is_constant for part in (w1, w2, *biases)):
        return "its weights are not constant"
    for weight, conv in ((w1, squeeze), (w2, excite)):
        if weight.shape is None or list(weight.shape[2:]) != [1, 1]:
            return "its convolutions are not 1x1"
        if conv.attrs.get("group", 1) != 1 or set(conv.attrs.get("strides", (1, 1))) != {1}:
            return "its convolutions are in groups or strided"
        if any(conv.attrs.get("pads", ())):
            return "its convolutions pad"
    is_done = pool.value is not None and len(np.asarray(w1.const)) % BLOCK == 0
    return "" if is_done else None


def after(
    x: Capture, w1: Capture, b1: Capture, w2: Capture, b2: Capture, silu: Capture, gate: Capture
) -> Expr:
    assert gate.node is not None
    first, second = (np.asarray(part.const) for part in (w1, w2))
    bias = np.zeros(len(first), first.dtype) if b1.const is None else b1.const
    extra = -len(first) % BLOCK
    first = np.pad(first, [(0, extra), (0, 0), (0, 0), (0, 0)])
    second = np.pad(second, [(0, 0), (0, extra), (0, 0), (0, 0)])
    small = op.Conv(op.GlobalAveragePool(x), first, np.pad(bias, (0, extra)), kernel_shape=[1, 1])
    active = op.Relu(small) if silu.value is None else small * op.Sigmoid(small)
    wide = op.Conv(active, second, b2, kernel_shape=[1, 1])
    factor = Expr(gate.node.op_type, (wide,), gate.attrs)
    return x * factor
