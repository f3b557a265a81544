"""What each operator does to shapes: one small function per operator.

A rule returns the shape of the first output, or one shape per output where they differ; None where
it cannot tell.  Unknown dims become fresh names, so that later equal uses are seen as equal.
"""

from collections.abc import Callable, Sequence

import onnx_ir as ir

from modelkit.model import dims
from modelkit.model.dims import Dim
from modelkit.passes.symbols.contents import slice_bounds, spelled
from modelkit.passes.symbols.known import Known, Shape, option, wrapped

Rule = Callable[[ir.Node, Known], Shape | None]


def _same(node: ir.Node, known: Known) -> Shape | None:
    return known.shape(node.inputs[0])


def broadcast(shapes: Sequence[Shape], known: Known) -> Shape:
    """The common shape of ``shapes`` by NumPy's rule."""
    first = shapes[0] if shapes else ()
    if all(shape == first for shape in shapes):
        return first
    length = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (length - len(shape)) + shape for shape in shapes]
    return tuple(_widest(column, known) for column in zip(*padded, strict=True))


def _widest(column: tuple[Dim, ...], known: Known) -> Dim:
    distinct = list(dict.fromkeys(dim for dim in column if dim != 1))
    if not distinct:
        return 1
    # Where a fixed size above 1 takes part, the result can be nothing else.
    fixed = next((dim for dim in distinct if isinstance(dim, int)), None)
    if fixed is not None or len(distinct) == 1:
        return distinct[0] if fixed is None else fixed
    # Each dim is the result or 1; a dim that is never 1, or 1 only with all others, is the result.
    sure = (dim for dim in distinct if _above_one(dim) or _covers(dim, distinct))
    return next(sure, None) or known.fresh()


def _covers(dim: Dim, others: list[Dim]) -> bool:
    """Whether each other dim is min(dim, c) with c above 1, hence 1 only where ``dim`` is 1."""
    for other in others:
        pair = dims.smaller_of(other)
        if other != dim and (pair is None or dim not in pair or not _above_one(_rest(pair, dim))):
            return False
    return True


def _rest(pair: tuple[Dim, Dim], dim: Dim) -> Dim:
    return pair[1] if pair[0] == dim else pair[0]


def _above_one(dim: Dim) -> bool:
    less = dims.subtract(dim, 1)
    return less is not None and dims.positive(less)


def _elementwise(node: ir.Node, known: Known) -> Shape | None:
    shapes = [known.shape(value) for value in node.inputs if value is not None]
    if option(node, "broadcast") is not None or any(shape is None for shape in shapes):
        return None
    return broadcast([shape for shape in shapes if shape is not None], known)


def _matmul(node: ir.Node, known: Known) -> Shape | None:
    a, b = known.shape(node.inputs[0]), known.shape(node.inputs[1])
    if a is None or b is None or not a or not b:
        return None
    batch = broadcast([a[:-2], b[:-2]], known)
    return batch + a[-2:-1] * (len(a) > 1) + b[-1:] * (len(b) > 1)


def _gemm(node: ir.Node, known: Known) -> Shape | None:
    a, b = known.shape(node.inputs[0]), known.shape(node.inputs[1])
    if a is None or b is None or len(a) != 2 or len(b) != 2:
        return None
    return a[1 if option(node, "transA", 0) else 0], b[0 if option(node, "transB", 0) else 1]


def _expand(node: ir.Node, known: Known) -> Shape | None:
    source, target = known.shape(node.inputs[0]), spelled(node.inputs[1], known)
    if source is None or target is None or not all(dims.nonnegative(item) for item in target):
        return None
    return broadcast([source, tuple(target)], known)


def _constant_of_shape(node: ir.Node, known: Known) -> Shape | None:
    target = spelled(node.inputs[0], known)
    return (
        tuple(target) if target is not None and all(dims.nonnegative(d) for d in target) else None
    )


def _reduce(node: ir.Node, known: Known) -> Shape | None:
    shape, found = known.shape(node.inputs[0]), known.axes(node, 1)
    if shape is None or found is None:
        return None
    if not found and option(node, "noop_with_empty_axes", 0):
        return shape
    axes = wrapped(found, len(shape)) if found else set(range(len(shape)))
    if axes is None:
        return None
    return _reduced(shape, axes, bool(option(node, "keepdims", 1)))


def _reduced(shape: Shape, axes: set[int], keep: bool) -> Shape:
    if keep:
        return tuple(1 if place in axes else dim for place, dim in enumerate(shape))
    return tuple(dim for place, dim in enumerate(shape) if place not in axes)


def _arg(node: ir.Node, known: Known) -> Shape | None:
    shape = known.shape(node.inputs[0])
    axes = None if shape is None else wrapped([option(node, "axis", 0)], len(shape))
    if shape is None or axes is None:
        return None
    return _reduced(shape, axes, bool(option(node, "keepdims", 1)))


def _gather(node: ir.Node, known: Known) -> Shape | None:
    data, places = known.shape(node.inputs[0]), known.shape(node.inputs[1])
    axis = option(node, "axis", 0)
    if data is None or places is None or not -len(data) <= axis < len(data):
        return None
    axis %= len(data)
    return data[:axis] + places + data[axis + 1 :]


def _second(node: ir.Node, known: Known) -> Shape | None:
    return known.shape(node.inputs[1])


def _gather_nd(node: ir.Node, known: Known) -> Shape | None:
    data, places = known.shape(node.inputs[0]), known.shape(node.inputs[1])
    if data is None or not places or not isinstance(places[-1], int):
        return None
    return places[:-1] + data[option(node, "batch_dims", 0) + places[-1] :]


def _concat(node: ir.Node, known: Known) -> Shape | None:
    shapes = [known.shape(value) for value in node.inputs]
    lengths = {None if shape is None else len(shape) for shape in shapes}
    axis = option(node, "axis", 0)
    if len(lengths) != 1 or None in lengths:
        return None
    columns = list(zip(*(shape for shape in shapes if shape is not None), strict=True))
    if not -len(columns) <= axis < len(columns):
        return None
    axis %= len(columns)
    return tuple(
        _sum(column, known) if place == axis else _agreed(column)
        for place, column in enumerate(columns)
    )


def _sum(column: tuple[Dim, ...], known: Known) -> Dim:
    total: Dim | None = 0
    for dim in column:
        total = None if total is None else dims.add(total, dim)
    return known.fresh() if total is None else total


def _agreed(column: tuple[Dim, ...]) -> Dim:
    return next((dim for dim in column if isinstance(dim, int)), column[0])


def _slice(node: ir.Node, known: Known) -> Shape | None:
    shape = known.shape(node.inputs[0])
    if shape is None:
        return None
    bounds = slice_bounds(node, known)
    if bounds is None:
        return tuple(known.fresh() for _ in shape)
    result = list(shape)
    for start, end, axis, step in zip(*bounds, strict=True):
        if not -len(shape) <= axis < len(shape):
            return None
        length = _slice_length(result[axis], start, end, step)
        result[axis] = known.fresh() if length is None else length
    return tuple(result)


def _slice_length(dim: Dim, start: Dim | None, end: Dim | None, step: int) -> Dim | None:
    if start is None or end is None or step == 0:
        return None
    if isinstance(dim, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(dim)[slice(start, end if end >= -dim or step > 0 else None, step)])
    if step != 1:
        return None
    first, last = _place(start, dim), _place(end, dim)
    if first == 0 and last is None and dims.nonnegative(end):
        last = dims.minimum(end, dim)
    return None if first is None or last is None else _gap(first, last)


def _place(place: Dim, dim: Dim) -> Dim | None:
    """Where a slice bound falls in 0..dim, where that can be told."""
    if isinstance(place, int) and place < 0:
        below = dims.add(dim, place)
        return below if below is not None and dims.nonnegative(below) else None
    if place == 0:
        return 0
    if isinstance(place, int) and place >= 2**31 - 1:
        return dim
    over, under = dims.subtract(place, dim), dims.subtract(dim, place)
    if over is not None and dims.nonnegative(over):
        return dim
    return place if under is not None and dims.nonnegative(under) else None


def _gap(first: Dim, last: Dim) -> Dim | None:
    length = dims.subtract(last, first)
    return length if length is not None and dims.nonnegative(length) else None


def _tile(node: ir.Node, known: Known) -> Shape | None:
    shape, content = known.shape(node.inputs[0]), known.content(node.inputs[1])
    if shape is None or content is None or len(content.items) != len(shape):
        return None
    sized = (
        None if times is None else dims.multiply(dim, times)
        for dim, times in zip(shape, content.items, strict=True)
    )
    return tuple(known.fresh() if dim is None else dim for dim in sized)


def _pad(node: ir.Node, known: Known) -> Shape | None:
    shape = known.shape(node.inputs[0])
    given = known.content(node.inputs[1]) if len(node.inputs) > 1 else None
    pads = given.items if given is not None else tuple(option(node, "pads", ()))
    if shape is None:
        return None
    if len(pads) != 2 * len(shape) or (len(node.inputs) > 3 and node.inputs[3] is not None):
        return tuple(known.fresh() for _ in shape)
    sides = zip(shape, pads[: len(shape)], pads[len(shape) :], strict=True)
    return tuple(_padded(dim, low, high, known) for dim, low, high in sides)


def _padded(dim: Dim, low: Dim | None, high: Dim | None, known: Known) -> Dim:
    both = None if low is None or high is None else dims.add(low, high)
    total = None if both is None else dims.add(dim, both)
    return known.fresh() if total is None or not dims.nonnegative(total) else total


def _range(node: ir.Node, known: Known) -> Shape | None:
    start, limit, step = (known.content(value) for value in node.inputs)
    if start is None or limit is None or step is None or step.items != (1,):
        return (known.fresh(),)
    first, last = start.items[0], limit.items[0]
    length = None if first is None or last is None else _gap(first, last)
    return (known.fresh() if length is None else length,)


def _constant(node: ir.Node, known: Known) -> Shape | None:
    tensor = ir.convenience.get_const_tensor(node.outputs[0])
    return None if tensor is None else tensor.numpy().shape


def _scalar(node: ir.Node, known: Known) -> Shape | None:
    return ()


def _shape(node: ir.Node, known: Known) -> Shape | None:
    shape = known.shape(node.inputs[0])
    if shape is None:
        return None
    return (len(shape[slice(option(node, "start", 0), option(node, "end", len(shape)))]),)


def _nonzero(node: ir.Node, known: Known) -> Shape | None:
    shape = known.shape(node.inputs[0])
    return None if shape is None else (len(shape), known.fresh())


def _one_hot(node: ir.Node, known: Known) -> Shape | None:
    shape, depth = known.shape(node.inputs[0]), known.content(node.inputs[1])
    axis = option(node, "axis", -1)
    if shape is None or not -len(shape) - 1 <= axis <= len(shape):
        return None
    axis %= len(shape) + 1
    size = None if depth is None else depth.items[0]
    return (*shape[:axis], known.fresh() if size is None else size, *shape[axis:])


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split())


SAME = _listed(
    "Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization Bernoulli Cast Ceil Celu Clip Cos "
    "Cosh CumSum DequantizeLinear Dropout Elu Erf Exp EyeLike Floor Gelu GroupNormalization "
    "HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN "
    "LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization Mish "
    "Neg Not PRelu QuantizeLinear RMSNormalization RandomNormalLike RandomUniformLike Reciprocal "
    "Relu ReverseSequence RotaryEmbedding Round ScatterElements ScatterND Selu Shrink Sigmoid "
    "Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu"
)
ELEMENTWISE = _listed(
    "Add And BitwiseAnd BitwiseOr BitwiseXor BitShift Div Equal Greater GreaterOrEqual Less "
    "LessOrEqual Max Mean Min Mod Mul Or Pow Sub Sum Where Xor"
)
REDUCTIONS = _listed("L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare")

RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys((f"Reduce{kind}" for kind in REDUCTIONS), _reduce),
    "ArgMax": _arg, "ArgMin": _arg, "Concat": _concat, "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,  "Gather": _gather, "GatherElements": _second,
    "GatherND": _gather_nd, "Gemm": _gemm, "MatMul": _matmul, "NonZero": _nonzero,
    "OneHot": _one_hot, "Pad": _pad, "Range": _range,  "Shape": _shape,
    "Size": _scalar, "Slice": _slice,  "Tile": _tile,

}  # fmt: skip
