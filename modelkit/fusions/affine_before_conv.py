"""Fold what multiplies and moves the channels of a map into the Conv that reads it.

Why: up to two passes over the map less, and it stays in ONNX Runtime's blocked layout: StarReLU of
MetaFormers, s relu(x)^2 + c, and the learnable affine blocks of PP-LCNet.
Equal: up to float rounding; zeros that pad stay zeros, so that only what is not padded is moved.
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.scale_before_conv import by_channel, read_by_filters
from modelkit.rewrite import Capture, Expr, convolution, either

ORDER = 15  # behind what folds constants into the convolution before


def before(x: Expr, s: Expr, c: Expr, w: Expr, b: Expr) -> Expr:
    return convolution(either(x * s + c, x * s, x + c), w, b)


def when(x: Capture, s: Capture, c: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    constants = [part for part in (s, c) if part.value is not None]
    if not all(part.is_constant for part in constants) or x.node is None:
        return ""
    if not w.is_constant or x.dtype != ir.DataType.FLOAT or w.value is None:
        return "it is not float32 with a constant weight"
    if len(w.value.uses()) > 1 or (b.value is not None and not b.is_constant):
        return "its bias is no constant, or its weight is used elsewhere too"
    if x.shape is None or len(x.shape) != len(np.asarray(w.const).shape):
        return "the rank of the map is not known"
    if not all(by_channel(part, x, Capture(None)) for part in constants):
        return "the factor or what is added differs within a channel"
    if not all(np.isfinite(np.asarray(part.const)).all() for part in constants):
        return "the factor or what is added is no finite number"
    if c.value is not None and _is_padded(conv):
        return "its padding is zero, and stays so where something is added"
    return None


def _is_padded(conv: Capture) -> bool:
    automatic = conv.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return automatic or any(conv.attrs.get("pads", ()))


def after(x: Capture, s: Capture, c: Capture, w: Capture, b: Capture, conv: Capture) -> Expr:
    weight = np.asarray(w.const)
    bias = b.const
    if c.value is not None:
        shares = weight.astype(np.float64) * read_by_filters(np.asarray(c.const), weight, conv)
        moved = shares.sum(axis=tuple(range(1, weight.ndim)))
        bias = (moved if bias is None else moved + bias).astype(np.float32)
    if s.value is not None:
        factors = read_by_filters(np.asarray(s.const), weight, conv)
        weight = (weight * factors).astype(np.float32)
    return Expr("Conv", (x, weight) if bias is None else (x, weight, bias), conv.attrs)
