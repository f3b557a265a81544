"""Compute linear layers over the pixels of a map as 1x1 convolutions beside its convolution.

Why: between the layers of a vision transformer whose hidden layer mixes neighbours the map is wide;
it then stays in ONNX Runtime's blocked layout, and only the narrow rows around it are moved:
1.1-1.7x on the layers of SegFormer and PVT v2.
Equal: up to float rounding.
Source: Xie et al., SegFormer, 2021, whose Mix-FFN it is.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from modelkit.fusions.activation_as_image import ONE, computed
from modelkit.fusions.linear_as_conv import (
    BLOCK,
    as_image,
    as_rows,
    convolved,
    plain,
    with_bias,
)
from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "all"
OPSET = 5  # Reshape takes its sizes as an input
ORDER = 16  # before rows_as_pixels and pixels_as_rows, which take one move alone

_ROWS = 49  # below, the moves between layouts cost what the convolutions gain


def before_conv(x: Expr, w: Expr, b: Expr, sizes: Expr) -> Expr:
    made = either(with_bias(x, w, b), plain(x, w))
    return op.Reshape(op.Transpose(made, perm=[0, 2, 1]), sizes).named("image")


def _behind_conv(is_biased: bool, kind: str, domain: str) -> Callable[..., Expr]:
    def behind_conv(image: Expr, w: Expr, b: Expr) -> Expr:
        flat = op.Reshape(image, Expr(name="sizes")).named("flat")
        rows = op.Transpose(flat, perm=[0, 2, 1])
        active = either(Expr(kind, (rows,), domain=domain).named("made"), rows)
        return with_bias(active, w, b) if is_biased else plain(active, w)

    return behind_conv


before = (before_conv, *(_behind_conv(biased, *kind) for biased in (True, False) for kind in ONE))


def when(x: Capture, w: Capture, b: Capture, image: Capture, flat: Capture) -> str | None:
    rows = flat if x.value is None else x
    if image.value is None or image.dtype != ir.DataType.FLOAT or not w.is_constant:
        return ""
    if image.shape is None or len(image.shape) != 4 or rows.shape is None or len(rows.shape) != 3:
        return ""
    if w.shape is None or len(w.shape) != 2 or rows.shape[0] != image.shape[0]:
        return ""
    if not _is_beside_conv(image, x):
        return ""
    if any(not isinstance(dim, int) or dim % BLOCK for dim in w.shape):
        return f"its widths are not multiples of {BLOCK}"
    if image.shape[1] != w.shape[0 if x.value is None else 1]:
        return ""
    if b.value is not None and (not b.is_constant or b.shape != w.shape[1:]):
        return "its bias is not a constant vector"
    if image.shape[0] is None:
        return "its batch has no name"
    sides = [side for side in image.shape[2:] if isinstance(side, int)]
    if len(sides) != 2 or sides[0] * sides[1] < _ROWS:
        return f"its map is not known to have {_ROWS} pixels"
    return None


def _is_beside_conv(image: Capture, x: Capture) -> bool:
    assert image.value is not None
    if x.value is None:
        return image.node is not None and image.node.op_type == "Conv"
    users = [user.op_type for user, _ in image.value.uses()]
    return bool(users) and all(kind == "Conv" for kind in users)


def after(x: Capture, w: Capture, b: Capture, image: Capture, made: Capture) -> Expr:
    assert w.const is not None and image.shape is not None
    deep, wide = w.const.shape
    sides = [side for side in image.shape[2:] if isinstance(side, int)]
    if x.value is not None:
        pixels = op.Reshape(x, np.array([0, *sides, deep], np.int64))
        return convolved(as_image(pixels, ()), w.const, b)
    active = image if made.value is None else computed(made, image)
    pixels = as_rows(convolved(active, w.const, b), ())
    return op.Reshape(pixels, np.array([0, sides[0] * sides[1], wide], np.int64))
