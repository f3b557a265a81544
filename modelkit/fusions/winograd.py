"""Compute a 3x3 convolution by Winograd's algorithm, four rows at a time.

Why: half the multiplications.  ONNX Runtime's CPU provider has no such kernel, but runs the
operators it can be written in: 1.1-1.5x on convolutions of 48 and more channels.
Equal: up to float rounding (about 1e-6 of the largest value).
"""

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.rewrite import Capture, Expr, Operand, convolution, op
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
_NARROW = 60  # channels; below, two threads gain nothing at any size
_CACHED = 16000  # pixels of 64 channels whose sums memory keeps up with
_CACHED_GROWTH = 2.4  # and how many more there may be of more channels, whose products save more
_STEPS = ("strides", "dilations")


def relu(x: Expr, w: Expr, b: Expr) -> Expr:
    return op.Relu(convolution(x, w, b)).named("relu")


def plain(x: Expr, w: Expr, b: Expr) -> Expr:
    return convolution(x, w, b)


before = (relu, plain)


def when(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    return "" if is_small(x, w) or is_open(x) else refusal(x, w, b, conv)


def is_open(x: Capture) -> bool:
    """Whether the height or width of the images is known only when they are seen."""
    return x.shape is None or not all(isinstance(side, int) for side in x.shape[2:])


def is_small(x: Capture, w: Capture) -> bool:
    """Whether so little is computed that it pays on one thread only."""
    if is_open(x) or len(x.shape or ()) != 4:
        return False
    channels = channels_of(w)
    return channels * _sides(x)[0] < _SMALL or channels < _NARROW


def channels_of(w: Capture) -> float:
    """The harmonic mean of the channels that come in and go out; 0 where they are not known."""
    known = [dim for dim in (w.shape or ())[:2] if isinstance(dim, int) and dim]
    return 2 / sum(1 / dim for dim in known) if len(known) == 2 else 0


def refusal(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    """Why a convolution of images of fixed sizes stays as it is; None: it need not."""
    reason = unfit(x, w, b, conv)
    if reason is not None:
        return reason
    height, width = _sides(x)
    channels = channels_of(w)
    if height * width > _CACHED * (channels / 64) ** _CACHED_GROWTH:
        return f"{channels:.0f} channels of {height}x{width}: memory cannot keep up with the sums"
    return _refuse_size(height, channels)


def unfit(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    """Why a convolution is none of those that the functions stand for; None: it is one."""
    if w.shape is None or list(w.shape[2:]) != [3, 3] or not _is_plain(conv):
        return ""
    if x.dtype != ir.DataType.FLOAT or not w.is_constant:
        return "it is not float32 with constant weights"
    if b.value is not None and not b.is_constant:
        return "its bias is not a constant"
    if not all(isinstance(dim, int) for dim in w.shape):
        return ""
    if any(isinstance(dim, int) and dim % BLOCK for dim in w.shape[:2]):
        return f"its channels are not multiples of {BLOCK}"
    return None


def _is_plain(conv: Capture) -> bool:
    said = conv.attrs
    if said.get("group", 1) != 1 or any(
        step != 1 for name in _STEPS for step in said.get(name, ())
    ):
        return False
    if said.get("auto_pad", "NOTSET") == "NOTSET":
        return list(said.get("pads", ())) == [1, 1, 1, 1]
    return said["auto_pad"] in ("SAME_UPPER", "SAME_LOWER")


def _refuse_size(height: int, channels: float) -> str | None:
    if height < _LOWEST or height < _USED * ROWS * -(-height // ROWS):
        return f"{height} rows are too few, or too far from a multiple of {ROWS}"
    if channels < _FEWEST or channels * height < _SMALLEST:
        return f"{channels:.0f} channels by {height} rows are too few: sums cost what is saved"
    if height % ROWS and channels * height < _SMALLEST_CUT:
        return f"{height} rows are no multiple of {ROWS}: cutting others off costs what is saved"
    return None


def after(x: Capture, w: Capture, b: Capture, relu: Capture) -> Expr:
    height, width = _sides(x)
    made = called((CONV, CONV_RELU), (x, w, b), relu, (height, width))
    return op.Slice(made, *_rows(height)) if height % ROWS else made


def called(
    names: tuple[str, str],
    operands: tuple[Operand, ...],
    relu: Capture,
    sides: tuple[int, int] | None,
) -> Expr:
    """A call of the first function of ``names``, or with ``relu`` of the second."""
    x, w, b, *height = operands
    kernels, channels = (dim for dim in (w.shape or ())[:2] if isinstance(dim, int))
    bias = np.zeros(kernels, np.float32) if b.value is None else b
    said = attributes(channels, kernels, sides)
    return Expr(names[relu.value is not None], (x, w, bias, *height), said, DOMAIN)


def _sides(x: Capture) -> tuple[int, int]:
    height, width = (side for side in (x.shape or ())[2:] if isinstance(side, int))
    return height, width


def _rows(height: int) -> tuple[np.ndarray, ...]:
    """Starts, ends and axes of the rows that count."""
    return tuple(np.array([number], np.int64) for number in (0, height, 2))
