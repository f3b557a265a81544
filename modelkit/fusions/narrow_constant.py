"""Repeat a constant along the axes before its own, so that broadcasting it takes long steps.

Why: ONNX Runtime broadcasts a constant a run of equal axes at a time, at 7-20 ns a run, and a pixel
of an image with its channels last is a run of three numbers, a box one of four.  Repeated along a
row, here or, where the rows' length is open, while the model runs, the same constant is added in
steps of a row.
Equal: exactly the same numbers.
"""

from collections.abc import Callable
from math import prod

import numpy as np

from modelkit.rewrite import Capture, Expr, op

Dims = tuple[int | str | None, ...]

LEVEL = "all"
ORDER = 100  # what no other fusion folds into something

_LONG = 128  # numbers in a run from which on its own cost is small
_SHORT = 16  # and up to which even reading a constant as large as the input costs less
_OFTEN = 4  # how often a repeated constant is read while it is near
_ENOUGH = 512  # numbers in a run at which repeating ends
_LARGEST = 40_000  # numbers of the repeated constant
_FEWEST = 128  # runs that are saved
_COLUMNS = 2  # the axis of an image [N, H, W, C] before its channels

_EITHER_WAY = ("Add", "Mul", "Max", "Min")
_IN_ORDER = ("Sub", "Div", "Pow")
_FOLDED = ("Conv", "ConvTranspose")
"""What ONNX Runtime folds a constant behind it into by itself, and so for matrices:"""
_MATRIX = ("MatMul", "Gemm")


def _of(kind: str, *, first: bool) -> Callable[[Expr, Expr], Expr]:
    def spelling(x: Expr, c: Expr) -> Expr:
        return Expr(kind, (c, x) if first else (x, c)).named("made")

    return spelling


before = (
    *(_of(kind, first=False) for kind in (*_EITHER_WAY, *_IN_ORDER)),
    *(_of(kind, first=True) for kind in _IN_ORDER),
)


def when(x: Capture, c: Capture) -> str | None:
    if not c.is_constant or c.shape is None or x.shape is None or x.is_constant:
        return ""
    dims, whole = x.shape, c.aligned(len(x.shape))
    if whole is None or any(size not in (1, dim) for size, dim in zip(whole, dims, strict=True)):
        return ""
    run, axis = _run(dims, whole)
    if run >= _LONG or axis < 0:
        return ""
    if x.node is not None and x.node.op_type in (_MATRIX if len(dims) == 2 else _FOLDED):
        return ""
    first = _first(dims, axis)
    if any(size != 1 for size in whole[: _COLUMNS if first is None else first]):
        return ""
    if first is None:
        return None if _is_image(dims) else ""
    total = prod(dim for dim in dims if isinstance(dim, int))
    repeated = prod(dim for dim in dims[first:] if isinstance(dim, int))
    if total < _FEWEST * run or (run > _SHORT and total < _OFTEN * repeated):
        return ""
    return None


def after(x: Capture, c: Capture, made: Capture) -> Expr:
    assert x.shape is not None
    assert c.const is not None
    assert made.node is not None
    whole = c.aligned(len(x.shape))
    assert whole is not None
    first = _first(x.shape, _run(x.shape, whole)[1])
    start = _COLUMNS if first is None else first
    narrow = c.const.reshape([int(size) for size in whole[start:] if size is not None])
    repeated: Expr | np.ndarray
    if first is None:
        row = op.Slice(op.Shape(x), np.array([_COLUMNS]), np.array([_COLUMNS + 2]))
        repeated = op.Expand(narrow, row)
    else:
        sizes = tuple(int(dim) for dim in x.shape[first:] if dim is not None)
        repeated = np.broadcast_to(narrow, sizes).copy()
    swapped = made.node.inputs[0] is c.value
    return Expr(made.node.op_type, (repeated, x) if swapped else (x, repeated), made.attrs)


def _is_image(dims: Dims) -> bool:
    """Whether they are those of images with channels last, of any size."""
    return len(dims) == 4 and dims[-1] in range(2, 5) and isinstance(dims[_COLUMNS], str | None)


def _run(dims: Dims, whole: Dims) -> tuple[int, int]:
    """How many numbers are computed in one step, and the axis before them; -1: all are."""
    length, repeats = 1, None
    for axis in reversed(range(len(dims))):
        if dims[axis] == 1:
            continue
        kind = whole[axis] == 1
        if repeats not in (None, kind):
            return length, axis
        repeats, dim = kind, dims[axis]
        if not isinstance(dim, int):
            return _LONG, -1  # as long as the input is
        length *= dim
    return length, -1


def _first(dims: Dims, axis: int) -> int | None:
    """The first axis to repeat along; None where no length that is known makes the run longer."""
    first, size = None, prod(int(dim) for dim in dims[axis + 1 :] if dim is not None)
    for place in reversed(range(axis + 1)):
        dim = dims[place]
        if not isinstance(dim, int) or size * dim > _LARGEST or size >= _ENOUGH:
            break
        first, size = place, size * dim
    return first
