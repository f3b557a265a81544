"""Write PRelu by Relu and products.

Why: ONNX Runtime's kernel takes 26 times as long as that of LeakyRelu, which is the same for one
slope; with a slope a channel two products and a sum make a convolutional block 3.6x faster.
Equal: up to float rounding, for finite numbers.
"""

import numpy as np
import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, op

LEVEL = "all"
OPSET = 7

# slope x + (1 - slope) relu(x) rounds as many times more as a slope is above 1.
_STEEPEST = 4.0


def before(x: Expr, slope: Expr) -> Expr:
    return op.PRelu(x, slope)


def when(x: Capture, slope: Capture) -> str | None:
    if x.dtype != ir.DataType.FLOAT:
        return "it is not float32"
    if slope.const is None or not slope.const.size:
        return "its slope is not constant"
    if not np.abs(slope.const).max() <= _STEEPEST:
        return "its slope is too steep"
    if x.shape is None or len(slope.const.shape) > len(x.shape):
        return "its input is not known to have as many axes as its slope"
    return None


def after(x: Capture, slope: Capture) -> Expr:
    array = slope.const
    assert array is not None
    first = float(array.reshape(-1)[0])
    if np.all(array == first):
        return op.LeakyRelu(x, alpha=first)
    return x * slope + op.Relu(x) * (np.float32(1) - array)
