"""Compute a 3x3 convolution of images of any size by Winograd's algorithm, four rows at a time.

Why: as ``winograd``, where the height or width of the images is known only when they are seen.
Their rows are then cut from the result, in one more copy of it: 1.1-1.4x on one thread.
Equal: up to float rounding (about 1e-6 of the largest value).
"""

from modelkit.fusions.winograd import before, called, is_open, mean, unfit
from modelkit.rewrite import Capture, Expr
from modelkit.rewrite.winograd import OPEN

LEVEL = "all"
OPSET = 13
ORDER = 30  # when nothing else looks for a convolution

_USUAL = 224
"""Pixels along an open side of a model's inputs: what images have that networks are measured by."""
_LOWEST = 13  # rows of such images; with fewer too many are computed for nothing
_SMALLEST = (
    1920  # channels times rows; below, two threads wait for each other longer than they work
)
_FEWEST = 64  # channels
_NEAR = 64  # rows of maps of few channels that stay in the caches on larger images too
_MANY = 128  # channels whose products save more than maps cost that do not


def when(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    if not is_open(x):
        return ""
    reason = unfit(x, w, b, conv)
    if reason is not None:
        return reason
    rows = None if x.shape is None else x.length(2, _USUAL)
    if rows is None:
        return "the height of its images does not follow from the inputs"
    kernels, channels = (dim for dim in (w.shape or ())[:2] if isinstance(dim, int))
    each = mean(kernels, channels)
    if rows < _LOWEST or each * rows < _SMALLEST or each < (_FEWEST if rows <= _NEAR else _MANY):
        image = f"of images that are {_USUAL} pixels high"
        return (
            f"{each:.0f} channels by {rows} rows, {image}, are too few: copies cost what is saved"
        )
    return None


def after(x: Capture, w: Capture, b: Capture, relu: Capture) -> Expr:
    return called(OPEN, (x, w, b, x.measured(2)), relu, None)


__all__ = ["after", "before", "when"]
