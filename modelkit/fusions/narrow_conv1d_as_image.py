"""Compute a convolution of sequences to few channels as one of images one pixel high.

Why: as ``conv1d_as_image``, 1.2-1.6x on one thread.  But ONNX Runtime's blocked kernels share an
image out by its rows and by 64 channels, so that of a single row only one thread has something to
do: 0.8x on two.  A batch is shared out again.
Equal: up to float rounding.
"""

from modelkit.fusions.conv1d_as_image import after, before, is_narrow, refusal
from modelkit.rewrite import Capture

LEVEL = "all"
OPSET = 13
ORDER = 20  # when all constants are in the weights


def when(x: Capture, w: Capture, conv: Capture) -> str | None:
    return refusal(x, w, conv) if is_narrow(w, conv) else ""


__all__ = ["after", "before", "when"]
