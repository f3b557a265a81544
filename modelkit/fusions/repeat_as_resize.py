"""Enlarge an image by Resize where its rows and columns are repeated.

Why: Keras' UpSampling2D is written as two times Unsqueeze, Tile and Reshape over images with their
channels last, which copy the image four times.  Resize copies it once, and stays in the layout of
the convolutions around: 1.3-4.7x.
Equal: exactly the same numbers.
"""

import numpy as np
import onnx_ir as ir

from modelkit.rewrite import Capture, Expr, either, op
from modelkit.rewrite.capture import Dim

LEVEL = "basic"
OPSET = 13

_TO_LAST, _TO_FIRST, _MOVED = (0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 3, 4, 1)


def _times(x: Expr, number: int) -> Expr:
    return op.Tile(op.Unsqueeze(x, Expr(name=f"axis{number}")), Expr(name=f"times{number}"))


def before(x: Expr) -> Expr:
    moved = op.Transpose(_times(x, 1)).named("moved")  # of five axes
    plain = _times(op.Transpose(x).named("start"), 1)
    rows = op.Reshape(either(moved, plain), Expr()).shared().named("rows")
    wide = op.Reshape(_times(rows, 2), Expr()).named("wide")
    return op.Transpose(wide).named("made")


def when(
    x: Capture,
    axis1: Capture,
    times1: Capture,
    axis2: Capture,
    times2: Capture,
    start: Capture,
    moved: Capture,
    rows: Capture,
    wide: Capture,
    made: Capture,
) -> str | None:
    orders = ((made, _TO_FIRST), (start, _TO_LAST), (moved, _MOVED))
    if any(tuple(each.attrs.get("perm", order)) != order for each, order in orders):
        return ""
    if x.dtype != ir.DataType.FLOAT:
        return ""  # Tile takes types that Resize has no kernel for
    if 0 in _factors(axis1, times1, axis2, times2, moved):
        return ""
    if rows.value is None or any(
        user.op_type not in ("Shape", "Unsqueeze") for user, _ in rows.value.uses()
    ):
        return "its rows are read elsewhere too"
    return None if _joins(x, rows, wide) else "it is not known which axes are joined"


def _factors(
    axis1: Capture, times1: Capture, axis2: Capture, times2: Capture, moved: Capture
) -> tuple[int, int]:
    """How often rows and columns are repeated."""
    rows = _factor(axis1, times1, 2 if moved.value is None else 3)
    return rows, _factor(axis2, times2, 3)


def _factor(axis: Capture, times: Capture, place: int) -> int:
    """How often Tile repeats the axis ``place``, which Unsqueeze made; 0 where it does not."""
    if axis.const is None or times.const is None or axis.const.reshape(-1).tolist() != [place]:
        return 0
    factors = [int(factor) for factor in times.const.reshape(-1)]
    return factors.pop(place) if len(factors) == 5 and np.prod(factors) == factors[place] else 0


def _joins(x: Capture, rows: Capture, wide: Capture) -> bool:
    """Whether each Reshape joins the repeated axis with the one before it, and no others."""
    if x.shape is None or rows.shape is None or wide.shape is None or len(x.shape) != 4:
        return False
    images, channels, _, width = x.shape
    equal = (
        (rows.shape[0], images), (rows.shape[2], width), (rows.shape[3], channels),
        (wide.shape[0], images), (wide.shape[1], rows.shape[1]), (wide.shape[3], channels),
    )  # fmt: skip
    return all(a == b and a is not None for a, b in equal)


def after(
    x: Capture, axis1: Capture, times1: Capture, axis2: Capture, times2: Capture, moved: Capture
) -> Expr:
    return repeated(x, _factors(axis1, times1, axis2, times2, moved))


def repeated(x: Expr, factors: tuple[Dim, ...]) -> Expr:
    """``x`` [N, C, H, W] with its rows and columns as often as ``factors`` say."""
    return op.Resize(
        x,
        None,
        np.array([1, 1, *factors], np.float32),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
