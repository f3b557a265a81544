"""What each operator does to the contents of shape tensors: one small function per operator."""

from collections.abc import Callable
from itertools import accumulate

import onnx_ir as ir

from modelkit.model import dims
from modelkit.model.dims import Dim
from modelkit.passes.symbols.known import INTEGERS, MAX_ITEMS, Content, Known, option

Rule = Callable[[ir.Node, Known], Content | None]
Pair = Callable[[Dim, Dim], Dim | None]


def _shape(node: ir.Node, known: Known) -> Content | None:
    shape = known.shape(node.inputs[0])
    if shape is None or len(shape) > MAX_ITEMS:
        return None
    end = option(node, "end", len(shape))
    return Content(shape[slice(option(node, "start", 0), end)])


def _size(node: ir.Node, known: Known) -> Content | None:
    shape = known.shape(node.inputs[0])
    return None if shape is None else Content((product(shape),), scalar=True)


def product(shape: tuple[Dim | None, ...]) -> Dim | None:
    """The product of dims, None where one is unknown or it grows too long."""
    total: Dim | None = 1
    for dim in shape:
        total = None if total is None or dim is None else dims.multiply(total, dim)
    return total


def spelled(value: ir.Value | None, known: Known) -> list[Dim] | None:
    """The dims a shape tensor spells, fresh where its element is unknown."""
    content = known.content(value)
    if content is not None:
        return [known.fresh() if item is None else item for item in content.items]
    shape = known.shape(value)
    if shape is None or len(shape) != 1 or not isinstance(shape[0], int) or shape[0] > 16:
        return None
    return [known.fresh() for _ in range(shape[0])]


def _same(node: ir.Node, known: Known) -> Content | None:
    return known.content(node.inputs[0])


def _cast(node: ir.Node, known: Known) -> Content | None:
    to = option(node, "to")
    content = known.content(node.inputs[0])
    if content is None or to is None or ir.DataType(to) not in INTEGERS:
        return None
    if ir.DataType(to) is ir.DataType.BOOL:
        return Content(tuple(_truth(item) for item in content.items), content.scalar)
    return content


def _truth(item: Dim | None) -> Dim | None:
    if isinstance(item, int):
        return int(item != 0)
    return 1 if item is not None and dims.positive(item) else None


def _reshaped(node: ir.Node, known: Known) -> Content | None:
    content, shape = known.content(node.inputs[0]), known.shape(node.outputs[0])
    if content is None or shape is None or len(shape) > 1:
        return None
    return Content(content.items, scalar=not shape)


def _gather(node: ir.Node, known: Known) -> Content | None:
    content, places = known.content(node.inputs[0]), known.content(node.inputs[1])
    if content is None or places is None or content.scalar or places.integers is None:
        return None
    size = len(content.items)
    if any(not -size <= place < size for place in places.integers):
        return None
    return Content(tuple(content.items[place] for place in places.integers), places.scalar)


def _concat(node: ir.Node, known: Known) -> Content | None:
    items: list[Dim | None] = []
    for value in node.inputs:
        content, shape = known.content(value), known.shape(value)
        if content is not None and not content.scalar:
            items.extend(content.items)
        elif shape is not None and len(shape) == 1 and isinstance(shape[0], int):
            items.extend([None] * min(shape[0], MAX_ITEMS + 1))
        else:
            return None
        if len(items) > MAX_ITEMS:
            return None
    return Content(tuple(items))


def _slice(node: ir.Node, known: Known) -> Content | None:
    content = known.content(node.inputs[0])
    bounds = slice_bounds(node, known)
    if content is None or content.scalar or bounds is None:
        return None
    starts, ends, axes, steps = bounds
    start, end = (starts or (None,))[0], (ends or (None,))[0]
    if axes not in ((0,), (-1,)) or not isinstance(start, int) or not isinstance(end, int):
        return None
    size, step = len(content.items), steps[0]
    if step < 1:
        return None
    return Content(content.items[_clamp(start, size) : _clamp(end, size) : step])


def _clamp(place: int, size: int) -> int:
    return max(0, place + size) if place < 0 else min(place, size)


Bounds = tuple[tuple[Dim | None, ...], tuple[Dim | None, ...], tuple[int, ...], tuple[int, ...]]


def slice_bounds(node: ir.Node, known: Known) -> Bounds | None:
    """Starts, ends, axes and steps of a Slice, given by inputs or, before opset 10, attributes."""
    if len(node.inputs) < 3:
        starts, ends = option(node, "starts"), option(node, "ends")
        if starts is None or ends is None:
            return None
        axes = tuple(option(node, "axes", range(len(starts))))
        return tuple(starts), tuple(ends), axes, (1,) * len(starts)
    first, last = known.content(node.inputs[1]), known.content(node.inputs[2])
    if first is None or last is None:
        return None
    given = [node.inputs[i] if i < len(node.inputs) else None for i in (3, 4)]
    count = len(first.items)
    axes_given = tuple(range(count)) if given[0] is None else known.integers(given[0])
    steps = (1,) * count if given[1] is None else known.integers(given[1])
    if axes_given is None or steps is None or not len(axes_given) == len(steps) == count:
        return None
    return (first.items, last.items, axes_given, steps) if len(last.items) == count else None


def _paired(pair: Pair) -> Rule:
    def rule(node: ir.Node, known: Known) -> Content | None:
        if len(node.inputs) != 2:
            return None
        a, b = known.content(node.inputs[0]), known.content(node.inputs[1])
        return None if a is None or b is None else _zipped(pair, a, b)

    return rule


def _zipped(pair: Pair, a: Content, b: Content) -> Content | None:
    size = max(len(a.items), len(b.items))
    if len(a.items) not in (1, size) or len(b.items) not in (1, size):
        return None
    left = a.items * size if len(a.items) == 1 else a.items
    right = b.items * size if len(b.items) == 1 else b.items
    items = tuple(
        None if x is None or y is None else pair(x, y) for x, y in zip(left, right, strict=True)
    )
    return Content(items, a.scalar and b.scalar)


def _divided(a: Dim, b: Dim) -> Dim | None:
    if not dims.nonnegative(a) or not dims.positive(b):
        # Truncation and floor differ below zero; an unknown divisor may be zero.
        return dims.divide_exactly(a, b) if b != 0 else None
    return dims.divide(a, b)


def _modulo(a: Dim, b: Dim) -> Dim | None:
    if isinstance(a, int) and isinstance(b, int) and a >= 0 and b > 0:
        return a % b
    return 0 if dims.positive(b) and dims.divide_exactly(a, b) is not None else None


def _equal(a: Dim, b: Dim) -> Dim | None:
    if a == b:
        return 1
    difference = dims.subtract(a, b)
    if difference is None:
        return None
    if isinstance(difference, int):
        return int(difference == 0)
    opposite = dims.multiply(difference, -1)
    apart = dims.positive(difference) or (opposite is not None and dims.positive(opposite))
    return 0 if apart else None


def _less(a: Dim, b: Dim) -> Dim | None:
    difference = dims.subtract(b, a)
    if difference is None:
        return None
    if dims.positive(difference):
        return 1
    opposite = dims.multiply(difference, -1)
    return 0 if opposite is not None and dims.nonnegative(opposite) else None


def _not_less(a: Dim, b: Dim) -> Dim | None:
    found = _less(a, b)
    return None if not isinstance(found, int) else 1 - found


def _where(node: ir.Node, known: Known) -> Content | None:
    test, yes, no = (known.content(value) for value in node.inputs)
    if test is None or yes is None or no is None:
        return None
    chosen = _zipped(lambda t, x: x if t else None, test, yes)
    other = _zipped(lambda t, x: None if t else x, test, no)
    if chosen is None or other is None or test.integers is None:
        return None
    size = max(len(chosen.items), len(other.items))
    tests = test.integers * size if len(test.integers) == 1 else test.integers
    if any(len(side.items) not in (1, size) for side in (chosen, other)):
        return None
    left, right = (s.items * size if len(s.items) == 1 else s.items for s in (chosen, other))
    items = tuple(x if t else y for t, x, y in zip(tests, left, right, strict=True))
    return Content(items, test.scalar and yes.scalar and no.scalar)


def _constant_of_shape(node: ir.Node, known: Known) -> Content | None:
    shape = known.integers(node.inputs[0])
    value = option(node, "value")
    if shape is None or len(shape) > 1 or (shape and not 0 <= shape[0] <= MAX_ITEMS):
        return None
    if value is None or value.dtype not in INTEGERS:
        return None
    return Content((int(value.numpy().reshape(-1)[0]),) * (shape[0] if shape else 1), not shape)


def _range(node: ir.Node, known: Known) -> Content | None:
    given = [known.integers(value) for value in node.inputs]
    if any(item is None or len(item) != 1 for item in given):
        return None
    start, limit, step = (item[0] for item in given if item)
    if step == 0 or len(values := range(start, limit, step)) > MAX_ITEMS:
        return None
    return Content(tuple(values))


def _expand(node: ir.Node, known: Known) -> Content | None:
    content, shape = known.content(node.inputs[0]), known.integers(node.inputs[1])
    if content is None or shape is None or len(shape) > 1:
        return None
    size = shape[0] if shape else 1
    if len(content.items) not in (1, size) or size > MAX_ITEMS:
        return content if size == 1 and shape and not content.scalar else None
    items = content.items * size if len(content.items) == 1 else content.items
    return Content(items, content.scalar and not shape)


def _product(node: ir.Node, known: Known) -> Content | None:
    content, shape = known.content(node.inputs[0]), known.shape(node.outputs[0])
    if content is None or content.scalar or shape is None or option(node, "axes"):
        return None
    return Content((product(content.items),), scalar=not shape) if product(shape) == 1 else None


def _cumulated(node: ir.Node, known: Known) -> Content | None:
    values = known.integers(node.inputs[0])
    if values is None or option(node, "exclusive", 0) or option(node, "reverse", 0):
        return None
    content = known.content(node.inputs[0])
    return Content(tuple(accumulate(values))) if content and not content.scalar else None


def _negated(node: ir.Node, known: Known) -> Content | None:
    content = known.content(node.inputs[0])
    if content is None:
        return None
    return _zipped(dims.multiply, content, Content((-1,), scalar=content.scalar))


def _inverted(node: ir.Node, known: Known) -> Content | None:
    content = known.content(node.inputs[0])
    if content is None:
        return None
    items = tuple(1 - item if isinstance(item, int) else None for item in content.items)
    return Content(items, content.scalar)


RULES: dict[str, Rule] = {
    "Add": _paired(dims.add), "And": _paired(dims.multiply), "Cast": _cast, "Concat": _concat,
    "ConstantOfShape": _constant_of_shape, "CumSum": _cumulated, "Div": _paired(_divided),
    "Equal": _paired(_equal), "Expand": _expand, "Flatten": _reshaped, "Gather": _gather,
    "Greater": _paired(lambda a, b: _less(b, a)),
    "GreaterOrEqual": _paired(_not_less), "Identity": _same, "Less": _paired(_less),
    "LessOrEqual": _paired(lambda a, b: _not_less(b, a)), "Max": _paired(dims.maximum),
    "Min": _paired(dims.minimum), "Mod": _paired(_modulo), "Mul": _paired(dims.multiply),
    "Neg": _negated, "Not": _inverted, "Range": _range, "ReduceProd": _product,
    "Reshape": _reshaped, "Shape": _shape, "Size": _size, "Slice": _slice, "Squeeze": _reshaped,
    "Sub": _paired(dims.subtract), "Unsqueeze": _reshaped, "Where": _where,
}  # fmt: skip
