"""Compute a 3x3 convolution by Winograd's algorithm, four rows at a time.

Why: half the multiplications.  ONNX Runtime's CPU provider has no such kernel, but runs the
operators it can be written in: 1.1-1.5x on convolutions of 48 and more channels.
Equal: up to float rounding (about 1e-6 of the largest value).
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.rewrite import Capture, Expr, convolution, op
from modelkit.rewrite.winograd import CONV, CONV_RELU, DOMAIN, ROWS, attributes

LEVEL = "all"
OPSET = 13
ORDER = 30  # when nothing else looks for a convolution

_FEWEST = 48  # channels; the harmonic mean of those that come in and go out
_LOWEST = 12  # rows
_USED = 0.85  # of the rows that are computed: the last group of four may be cut
_SMALLEST = 960  # channels times rows; below, the sums cost what the products save
_SMALLEST_CUT = 1920  # the same where rows are cut off, in a copy out of the blocked layout
_SMALL = 1920  # channels times rows; below, two threads wait for each other longer than they work
_STEPS = ("strides", "dilations")


def relu(x: Expr, w: Expr, b: Expr) -> Expr:
    return op.Relu(convolution(x, w, b)).named("relu")


def plain(x: Expr, w: Expr, b: Expr) -> Expr:
    return convolution(x, w, b)


before = (relu, plain)


def when(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    return "" if is_small(x, w) else refusal(x, w, b, conv)


def is_small(x: Capture, w: Capture) -> bool:
    """Whether so little is computed that it pays on one thread only."""
    if x.shape is None or w.shape is None or len(x.shape) != 4 or len(w.shape) != 4:
        return False
    height, (kernels, channels) = x.shape[2], w.shape[:2]
    if not (isinstance(height, int) and isinstance(kernels, int) and isinstance(channels, int)):
        return False
    return _mean(kernels, channels) * height < _SMALL


def _mean(kernels: int, channels: int) -> float:
    return 2 * kernels * channels / (kernels + channels) if kernels else 0


def refusal(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    """Why a convolution stays as it is; None: it need not."""
    if w.shape is None or list(w.shape[2:]) != [3, 3] or not _is_plain(conv):
        return ""
    if x.dtype != ir.DataType.FLOAT or not w.is_constant:
        return "it is not float32 with constant weights"
    if b.value is not None and not b.is_constant:
        return "its bias is not a constant"
    kernels, channels = w.shape[:2]
    if not isinstance(kernels, int) or not isinstance(channels, int):
        return ""
    if kernels % BLOCK or channels % BLOCK:
        return f"its channels are not multiples of {BLOCK}"
    return _refuse_size(x, _mean(kernels, channels))


def _is_plain(conv: Capture) -> bool:
    said = conv.attrs
    if said.get("group", 1) != 1 or any(
        step != 1 for name in _STEPS for step in said.get(name, ())
    ):
        return False
    if said.get("auto_pad", "NOTSET") == "NOTSET":
        return list(said.get("pads", ())) == [1, 1, 1, 1]
    return said["auto_pad"] in ("SAME_UPPER", "SAME_LOWER")


def _refuse_size(x: Capture, channels: float) -> str | None:
    height, width = x.shape[2:] if x.shape is not None and len(x.shape) == 4 else (None, None)
    if not isinstance(height, int) or not isinstance(width, int):
        return "the height and width of its images are not known"
    if height < _LOWEST or height < _USED * ROWS * -(-height // ROWS):
        return f"{height} rows are too few, or too far from a multiple of {ROWS}"
    if channels < _FEWEST or channels * height < _SMALLEST:
        return f"{channels:.0f} channels by {height} rows are too few: sums cost what is saved"
    if height % ROWS and channels * height < _SMALLEST_CUT:
        return f"{height} rows are no multiple of {ROWS}: cutting others off costs what is saved"
    return None


def after(x: Capture, w: Capture, b: Capture, relu: Capture) -> Expr:
    assert w.shape is not None
    assert x.shape is not None
    sizes = (dim for dim in (*w.shape[:2], *x.shape[2:]) if isinstance(dim, int))  # all, by `when`
    kernels, channels, height, width = sizes
    said = attributes(channels, kernels, height, width)
    bias = np.zeros(kernels, np.float32) if b.value is None else b
    name = CONV if relu.value is None else CONV_RELU
    made = Expr(name, (x, w, bias), said, DOMAIN)
    return op.Slice(made, *_rows(height)) if height % ROWS else made


def _rows(height: int) -> tuple[np.ndarray, ...]:
    """Starts, ends and axes of the rows that count."""
    return tuple(np.array([number], np.int64) for number in (0, height, 2))
