"""Fuse the bias before a Gelu into it: BiasGelu, or FastGelu for the tanh form.

Why: on GPUs one pass over the activations takes the place of two.  On CPUs the kernel of BiasGelu
is slower than the two, see ``bias_gelu``.
Equal: up to float rounding.
"""

import onnx_ir as ir

from modelkit.fusions.skip_layer_normalization import MICROSOFT
from modelkit.rewrite import Capture, Expr, op

OPSET = 20
LEVEL = "all"
ORDER = 30


def before(x: Expr, bias: Expr) -> Expr:
    return op.Gelu(x + bias).named("gelu")


def when(x: Capture, bias: Capture) -> str | None:
    if x.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return "it is neither float32 nor float16"
    if not bias.is_constant or bias.shape is None or len(bias.shape) != 1:
        return "neither operand is a constant vector"
    if not x.shape or x.shape[-1] != bias.shape[0]:
        return "its input is not known to be as wide as the bias"
    return None


def after(x: Capture, bias: Capture, gelu: Capture) -> Expr:
    tanh = gelu.attrs.get("approximate", "none") == "tanh"
    kind = op.FastGelu if tanh else op.BiasGelu
    return kind(x, bias, _domain=MICROSOFT)
