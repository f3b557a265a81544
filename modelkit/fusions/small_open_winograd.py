"""Compute a small 3x3 convolution of images of any size by Winograd's algorithm.

Why: as ``open_winograd``, 1.1-1.4x on one thread.  It takes several operators instead of one, and
two threads meet at the end of each: 0.9-1.0x on images of few rows and channels.
Equal: up to float rounding (about 1e-6 of the largest value).
"""

from modelkit.fusions.open_winograd import after, before, is_small, refusal
from modelkit.fusions.winograd import is_open
from modelkit.rewrite import Capture

LEVEL = "all"
OPSET = 13
ORDER = 30  # when nothing else looks for a convolution


def when(x: Capture, w: Capture, b: Capture, conv: Capture) -> str | None:
    return refusal(x, w, b, conv) if is_open(x) and is_small(x, w) else ""


__all__ = ["after", "before", "when"]
