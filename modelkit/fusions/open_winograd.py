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

_USUAL = 224
"""Pixels along an open side of a model's inputs: what images have that networks are measured by."""
_LOWEST = 13  # rows of such images; with fewer too many are computed for nothing
_FEWEST = 48  # channels
_SMALLEST = 1200  # channels times rows; below, copies and sums cost what the products save
_NEAR = 64  # rows of maps that stay in the caches on larger images too
_MANY = 128  # channels whose products save more than maps cost that do not
_ENOUGH = 64  # channels; with fewer two threads wait for each other longer than they work
_SMALL = 1920  # channels times rows; below, likewise


def when(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    return "" if not is_open(x) or is_small(x, w) else refusal(x, w, b, conv)


def is_small(x: Capture, w: Capture) -> bool:
    """Whether so little is computed that it pays on one thread only."""
    rows, channels = _rows(x), channels_of(w)
    return rows is not None and (channels < _ENOUGH or channels * rows < _SMALL)


def refusal(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    """Why a convolution of images of open sizes stays as it is; None: it need not."""
    reason = unfit(x, w, b, conv)
    if reason is not None:
        return reason
    rows, channels = _rows(x), channels_of(w)
    if rows is None:
        return "the height of its images does not follow from the inputs"
    said = f"{channels:.0f} channels by {rows} rows, of images that are {_USUAL} pixels high, are"
    if rows < _LOWEST or channels < _FEWEST or channels * rows < _SMALLEST:
        return f"{said} too few: copies cost what is saved"
    if rows > _NEAR and channels < _MANY:
        return f"{said} too many for the caches and too few to pay for that"
    return None


def _rows(x: Capture) -> int | None:
    return None if x.shape is None else x.length(2, _USUAL)


def after(x: Capture, w: Capture, b: Capture, relu: Capture) -> Expr:
    return called(OPEN, (x, w, b, x.measured(2)), relu, None)


__all__ = ["after", "before", "when"]
