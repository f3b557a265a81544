"""Take the root of the sum of a map's squares by its mean where the map is in blocked layouts.

Why: ONNX Runtime has no blocked kernel for the sum, and copies the map out of its layout; the
product and the pool stay in it, with the convolutions around.
Equal: up to float rounding.
"""

from math import prod

import onnx_ir as ir

from modelkit.fusions.gate_as_image import is_blocked
from modelkit.fusions.reduce_before_transpose import axes_of
from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "all"
ORDER = 30  # behind linear_as_conv and what moves activations into images


def before(x: Expr, axes: Expr) -> Expr:
    return either(op.ReduceL2(x, axes).named("reduced"), op.ReduceL2(x).named("reduced"))


def when(x: Capture, axes: Capture, reduced: Capture) -> str | None:
    if x.shape is None or len(x.shape) != 4 or x.dtype != ir.DataType.FLOAT:
        return ""
    if axes_of(reduced, axes, 4) != [2, 3] or not reduced.attrs.get("keepdims", 1):
        return ""
    if not is_blocked(x.value):
        return ""
    sides = x.shape[2:]
    if not all(isinstance(side, int) and side for side in sides):
        return "the size of the map is not fixed"
    return None


def after(x: Capture) -> Expr:
    assert x.shape is not None
    pixels = prod(side for side in x.shape[2:] if isinstance(side, int))
    return op.Sqrt(op.GlobalAveragePool(x * x) * float(pixels))
