"""Merge the groups of a convolution until their channels fill a block.

Why: ONNX Runtime's blocked kernels take a convolution in groups only where the channels of a group
fill blocks; ResNeXt, RegNet and their kin have 4, 8 or 24.  Two to eight groups become one whose
weights are zero between them: more multiplications, and 1.1-1.6x on the blocks around.
Equal: up to float rounding.
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.rewrite import Capture, Expr, convolution, op

LEVEL = "all"
ORDER = 1  # behind conv1d_as_image

WIDEST = {2: 3 * BLOCK, 4: BLOCK, 8: BLOCK}
"""Groups made one, and the channels they may have then: zeros are multiplied too."""


def before(x: Expr, w: Expr, b: Expr) -> Expr:
    return convolution(x, w, b)


def when(x: Capture, w: Capture, conv: Capture) -> str | None:
    groups = conv.attrs.get("group", 1)
    if groups == 1 or w.shape is None or len(w.shape) != 4:
        return ""
    kernels, channels = w.shape[:2]
    if not isinstance(kernels, int) or not isinstance(channels, int):
        return "the number of its channels is unknown"
    made = kernels // groups
    if (channels, made) == (1, 1) or not (channels % BLOCK or made % BLOCK):
        return ""
    if x.dtype != ir.DataType.FLOAT or not w.is_constant:
        return "it is not float32 with constant weights"
    if merged(groups, channels, made) is None:
        return f"no few of its {groups} groups of {channels} channels fill blocks of {BLOCK}"
    return None


def merged(groups: int, channels: int, made: int) -> int | None:
    """How many groups become one for their channels, and what they make of them, to fill blocks."""
    for count, widest in WIDEST.items():
        wide = count * channels
        if not (groups % count or wide % BLOCK or count * made % BLOCK or wide > widest):
            return count
    return None


def after(x: Capture, w: Capture, b: Capture, conv: Capture) -> Expr:
    weight, groups = np.asarray(w.const), conv.attrs["group"]
    kernels, channels = weight.shape[:2]
    count = merged(groups, channels, kernels // groups)
    assert count is not None
    wide = np.zeros((kernels, count, channels, *weight.shape[2:]), weight.dtype)
    at = np.arange(kernels)
    wide[at, at // (kernels // groups) % count] = weight
    wide = wide.reshape(kernels, count * channels, *weight.shape[2:])
    return op.Conv(x, wide, b, **{**conv.attrs, "group": groups // count})
