"""Compute a 3x3 convolution of images of any size by Winograd's algorithm, four rows at a time.

Why: as ``winograd``, where the height or width of the images is known only when they are seen.
Their rows are then cut from the result, in one more copy of it: 1.1-1.4x on one thread.
Equal: up to float rounding (about 1e-6 of the largest value).
"""

from modelkit.fusions.winograd import before, called, channels_of, is_open, unfit
from modelkit.rewrite import Capture, Expr
from modelkit.rewrite.winograd import OPEN

LEVEL = "all"
OPSET = 13
ORDER = 30  # when nothing else looks for a convolution

_SMALL_SIDE, _USUAL_SIDE = 112, 224
"""Pixels along an open side of a model's inputs: as few as shall not be slower, and as usual."""
_LOWEST = 13  # rows of a small image; with fewer too many are computed for nothing
_FEWEST = 64  # channels; with fewer the copies cost what the products save
_SMALLEST = 1920  # channels times rows; below, threads wait for each other, or all for the weights
_NEAR = 64  # rows of a usual image's maps that stay in the caches on larger images too
_MANY = 128  # channels whose products save more than maps cost that do not


def when(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    if not is_open(x):
        return ""
    reason = unfit(x, w, b, conv)
    if reason is not None:
        return reason
    rows, usual, channels = x.length(2, _SMALL_SIDE), x.length(2, _USUAL_SIDE), channels_of(w)
    if rows is None or usual is None:
        return "the height of its images does not follow from the inputs"
    if rows < _LOWEST or channels < _FEWEST or channels * rows < _SMALLEST:
        return f"{_said(channels, rows, _SMALL_SIDE)} too few: copies cost what is saved"
    if usual > _NEAR and channels < _MANY:
        return f"{_said(channels, usual, _USUAL_SIDE)} too many for the caches"
    return None


def _said(channels: float, rows: int, side: int) -> str:
    return f"{channels:.0f} channels by {rows} rows, of images that are {side} pixels high, are"


def after(x: Capture, w: Capture, b: Capture, relu: Capture) -> Expr:
    return called(OPEN, (x, w, b, x.measured(2)), relu, None)


__all__ = ["after", "before", "when"]
