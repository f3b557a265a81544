"""Shapes of operators that only relabel or reorder axes."""

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from modelkit.model import dims
from modelkit.model.dims import Dim
from modelkit.passes.equations import equation_of
from modelkit.passes.symbols.contents import product, spelled
from modelkit.passes.symbols.known import Known, Shape, option, wrapped
from modelkit.passes.symbols.shapes import broadcast


def _transpose(node: ir.Node, known: Known) -> Shape | None:
    shape = known.shape(node.inputs[0])
    if shape is None:
        return None
    order = option(node, "perm", range(len(shape))[::-1])
    if sorted(order) != list(range(len(shape))):
        return None
    return tuple(shape[axis] for axis in order)


def _einsum(node: ir.Node, known: Known) -> Shape | None:
    shapes = [known.shape(value) for value in node.inputs]
    equation = equation_of(node, [None if shape is None else len(shape) for shape in shapes])
    if equation is None:
        return None
    found: dict[str, list[Shape]] = {letter: [] for letter in equation.result}
    for term, shape in zip(equation.terms, shapes, strict=True):
        if shape is None:
            return None
        for letter, dim in zip(term, shape, strict=True):
            if letter in found:
                found[letter].append((dim,))
    # As elsewhere, a length of 1 is repeated.
    return tuple(broadcast(found[letter], known)[0] for letter in equation.result)


def _reshape(node: ir.Node, known: Known) -> Shape | None:
    source = known.shape(node.inputs[0])
    if len(node.inputs) < 2:
        target: list[Any] | None = list(option(node, "shape", []))
    else:
        content = known.content(node.inputs[1])
        target = spelled(node.inputs[1], known) if content is None else list(content.items)
    if target is None:
        return None
    if not option(node, "allowzero", 0):
        for place, item in enumerate(target):
            if item == 0:
                known_here = source is not None and place < len(source)
                target[place] = source[place] if source and known_here else None
    if -1 in target:
        rest = tuple(item for item in target if item != -1)
        total = None if source is None else product(source)
        others = product(rest)
        left = None if total is None or others in (None, 0) else _quotient(total, others)
        target[target.index(-1)] = left
    # An element that may be -1 or 0 says nothing of the dim it makes.
    sure = (
        item if item is not None and dims.nonnegative(item) else known.fresh() for item in target
    )
    return tuple(sure)


def _quotient(total: Dim, others: Dim | None) -> Dim | None:
    return None if others is None else dims.divide_exactly(total, others)


def _squeeze(node: ir.Node, known: Known) -> Shape | None:
    shape, found = known.shape(node.inputs[0]), known.axes(node, 1)
    if shape is None or found is None:
        return None
    axes = wrapped(found, len(shape)) if found else {i for i, dim in enumerate(shape) if dim == 1}
    if axes is None or (not found and any(not isinstance(dim, int) for dim in shape)):
        return None
    return tuple(dim for place, dim in enumerate(shape) if place not in axes)


def _unsqueeze(node: ir.Node, known: Known) -> Shape | None:
    shape, found = known.shape(node.inputs[0]), known.axes(node, 1)
    if shape is None or found is None:
        return None
    axes = wrapped(found, len(shape) + len(found))
    if axes is None:
        return None
    rest = iter(shape)
    return tuple(1 if i in axes else next(rest) for i in range(len(shape) + len(found)))


def _flatten(node: ir.Node, known: Known) -> Shape | None:
    shape, axis = known.shape(node.inputs[0]), option(node, "axis", 1)
    if shape is None or not -len(shape) <= axis <= len(shape):
        return None
    sides = product(shape[:axis]), product(shape[axis:])
    if axis < 0:
        axis += len(shape)
        sides = product(shape[:axis]), product(shape[axis:])
    return tuple(known.fresh() if side is None else side for side in sides)


RULES: dict[str, Callable[[ir.Node, Known], Shape | None]] = {
    "Einsum": _einsum, "Flatten": _flatten, "Reshape": _reshape, "Squeeze": _squeeze,
    "Transpose": _transpose, "Unsqueeze": _unsqueeze,
}  # fmt: skip
