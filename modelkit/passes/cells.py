"""What one turn of a recurrent layer computes, read from the body of its loop.

Exporters spell a cell in many ways: one product for all gates or one for each, weights cut by
Split or Slice, dropout that is switched off, hard sigmoids of five kinds.  A gate is read as what
it is, an activation of a sum of products with constant matrices, whatever the spelling.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import onnx_ir as ir

from modelkit.model import const_of
from modelkit.passes.surgery import attribute, ints, is_onnx

_SAME = 1e-6  # of factors that are rounded
_BOUNDS = ((1, "starts"), (2, "ends"), (3, "axes"))
_WHOLE = (1 << 31) - 1  # an end that stands for all there is


@dataclass(frozen=True)
class Linear:
    """A sum: ``bias`` [n] or [1], and each value [batch, k] times its matrix [k, n].

    The matrix is None where the value itself is added.
    """

    parts: Mapping[ir.Value, np.ndarray | None]
    bias: np.ndarray

    def changed(self, matrix: Callable[[np.ndarray], np.ndarray]) -> "Linear | None":
        """With ``matrix`` done to the columns of all; None where a value stands by itself."""
        found = {}
        for value, weight in self.parts.items():
            if weight is None:
                return None
            found[value] = matrix(weight)
        return Linear(found, matrix(self.bias[None])[0])

    def plus(self, other: "Linear", factor: float = 1.0) -> "Linear | None":
        """The sum of both, ``other`` times ``factor``."""
        added = other.changed(lambda weight: weight * np.float32(factor))
        own = self.changed(lambda weight: weight)
        if added is None or own is None:
            return None
        found = dict(own.parts)
        for value, weight in added.parts.items():
            known = found.get(value)
            found[value] = weight if known is None or weight is None else known + weight
        return Linear(found, own.bias + added.bias)


@dataclass(frozen=True)
class Gate:
    """``kind`` of :class:`Linear`; a HardSigmoid is the sum over ``top``, within 0 and 1."""

    kind: str
    linear: Linear
    top: float = 0.0

    @property
    def activation(self) -> tuple[str, float]:
        """What two gates of one activation have in common."""
        return self.kind, self.top


@dataclass
class Cell:
    """The body of a loop, whose ``states`` and ``step`` (x of this turn) are given.

    ``outside`` has what its inputs are that never change, as TensorFlow hands on the weights.
    """

    body: ir.Graph
    step: ir.Value
    states: tuple[ir.Value, ...]
    outside: Mapping[ir.Value, ir.Value]
    _known: dict[ir.Value, Linear | None] = field(default_factory=dict)

    def source(self, value: ir.Value | None) -> ir.Value | None:
        """``value`` before Identity, a Cast to its type, and products with ones."""
        while value is not None and (node := value.producer()) is not None:
            if is_onnx(node, "Identity") or _casts_to_same(node):
                value = node.inputs[0]
            elif is_onnx(node, "Mul") and any(_ones(each) for each in node.inputs):
                value = node.inputs[0 if _ones(node.inputs[1]) else 1]
            else:
                break
        return None if value is None else self.outside.get(value, value)

    def constant(self, value: ir.Value | None) -> np.ndarray | None:
        """A constant, also one that is cut from another."""
        return constant_of(self.source(value), self.outside)

    def number(self, value: ir.Value | None) -> float | None:
        """A constant of one element."""
        array = self.constant(value)
        return float(array.item()) if array is not None and array.size == 1 else None

    def terms(self, value: ir.Value | None, kind: str) -> tuple[ir.Value | None, ...]:
        """Both operands of ``value`` where a ``kind`` of the body makes it, else nothing."""
        source = self.source(value)
        node = None if source is None else source.producer()
        if node is None or node.graph is not self.body or not is_onnx(node, kind):
            return ()
        return tuple(self.source(each) for each in node.inputs)

    def either_way(
        self, value: ir.Value | None, kind: str
    ) -> Iterator[tuple[ir.Value | None, ir.Value | None]]:
        """Both operands of ``value``, in both orders."""
        found = self.terms(value, kind)
        if len(found) == 2:
            yield found[0], found[1]
            yield found[1], found[0]

    def gate(self, value: ir.Value | None) -> Gate | None:
        """``value`` as an activation of a sum."""
        source = self.source(value)
        node = None if source is None else source.producer()
        if source is None or node is None or node.graph is not self.body:
            return None
        if is_onnx(node, "Sigmoid", "Tanh", "Relu"):
            linear = self.linear(node.inputs[0])
            return None if linear is None else Gate(node.op_type, linear)
        if is_onnx(node, "HardSigmoid"):
            linear = self.linear(node.inputs[0])
            slope, shift = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
            return _hard(linear, 1.0, slope, shift)
        bounded = self._clipped(source)
        if bounded is not None:
            return _hard(self.linear(bounded[0]), bounded[1]) if bounded[1] == 1 else None
        for inner, factor in self.either_way(source, "Mul"):
            bounded, number = self._clipped(inner), self.number(factor)
            if bounded is not None and number and abs(number * bounded[1] - 1) < _SAME:
                return _hard(self.linear(bounded[0]), bounded[1])
        parts = self.terms(source, "Div")
        bounded = self._clipped(parts[0]) if parts else None
        if bounded is not None and self.number(parts[1]) == bounded[1]:
            return _hard(self.linear(bounded[0]), bounded[1])
        return None

    def _clipped(self, value: ir.Value | None) -> tuple[ir.Value | None, float] | None:
        """What is kept within 0 and a number, and that number."""
        source = self.source(value)
        node = None if source is None else source.producer()
        if node is not None and node.graph is self.body and is_onnx(node, "Clip"):
            low, high = self._bound(node, 1, "min"), self._bound(node, 2, "max")
            return (node.inputs[0], high) if low == 0 and high and high > 0 else None
        for inner, bound in self.either_way(source, "Max"):
            if self.number(bound) == 0:
                for x, top in self.either_way(inner, "Min"):
                    if (high := self.number(top)) is not None and high > 0:
                        return x, high
        for inner, top in self.either_way(source, "Min"):
            high = self.number(top)
            if high is None or high <= 0:
                continue
            if relu := self.terms(inner, "Relu"):
                return relu[0], high
            for x, bound in self.either_way(inner, "Max"):
                if self.number(bound) == 0:
                    return x, high
        return None

    def _bound(self, node: ir.Node, place: int, name: str) -> float | None:
        if len(node.inputs) > place:
            return self.number(node.inputs[place])
        found = attribute(node, name)
        return None if found is None else float(found)

    def linear(self, value: ir.Value | None) -> Linear | None:
        """``value`` as a sum; products of a state with something else count as values."""
        value = self.source(value)
        if value is None:
            return None
        if value not in self._known:
            self._known[value] = self._linear(value)
        return self._known[value]

    def _linear(self, value: ir.Value) -> Linear | None:
        array = self.constant(value)
        if array is not None:
            row = array.ndim < 2 or array.size == array.shape[-1]
            return Linear({}, array.reshape(-1)) if row else None
        if value is self.step or value in self.states:
            return Linear({value: None}, np.zeros(1, np.float32))
        node = value.producer()
        if node is None or node.graph is not self.body:
            return None
        if is_onnx(node, "Add", "Sub"):
            first, second = (self.linear(each) for each in node.inputs)
            if first is None or second is None:
                return None
            return first.plus(second, -1.0 if node.op_type == "Sub" else 1.0)
        if is_onnx(node, "MatMul", "Gemm"):
            return self._product(node)
        if is_onnx(node, "Mul"):
            return self._scaled(node, value)
        if is_onnx(node, "Expand"):
            row = self.linear(node.inputs[0])
            return row if row is not None and not row.parts else None
        return self._cut(node, value)

    def _product(self, node: ir.Node) -> Linear | None:
        given, weight = self.linear(node.inputs[0]), self.constant(node.inputs[1])
        if given is None or weight is None or weight.ndim != 2:
            return None
        bias = np.zeros(1, np.float32)
        if is_onnx(node, "Gemm"):
            share = attribute(node, "beta", 1.0)
            plain = attribute(node, "alpha", 1.0) == 1 and share in (0, 1)
            if not plain or attribute(node, "transA", 0):
                return None
            weight = weight.T if attribute(node, "transB", 0) else weight
            given_too = len(node.inputs) > 2 and share == 1
            added = self.constant(node.inputs[2]) if given_too else bias
            if added is None:
                return None
            bias = added.reshape(-1)
        if [matrix is None for matrix in given.parts.values()] == [True]:
            return Linear(dict.fromkeys(given.parts, weight), bias)
        before = np.broadcast_to(given.bias, len(weight))
        parts = {v: m @ weight for v, m in given.parts.items() if m is not None}
        known = len(parts) == len(given.parts)
        return Linear(parts, before @ weight + bias) if known else None

    def _scaled(self, node: ir.Node, value: ir.Value) -> Linear | None:
        for x, factor in self.either_way(value, "Mul"):
            array = self.constant(factor)
            if array is not None and (array.ndim < 2 or array.shape[0] == 1):
                given = self.linear(x)
                return None if given is None else given.changed(partial(np.multiply, array.ravel()))
            if x in self.states:
                return Linear({value: None}, np.zeros(1, np.float32))
        return None

    def _cut(self, node: ir.Node, value: ir.Value) -> Linear | None:
        """Some columns of a sum."""
        place = _columns(node, value)
        given = self.linear(node.inputs[0]) if place is not None else None
        if given is None or place is None:
            return None
        if is_onnx(node, "Split") and place.stop is None:
            width = max((each.shape[-1] for each in given.parts.values() if each is not None),
                        default=given.bias.size)  # fmt: skip
            size, rest = divmod(width, len(node.outputs))
            if rest:
                return None
            place = slice(place.start * size, (place.start + 1) * size)
        return given.changed(lambda matrix: matrix if matrix.shape[-1] == 1 else matrix[..., place])


def constant_of(
    value: ir.Value | None, outside: Mapping[ir.Value, ir.Value] | None = None
) -> np.ndarray | None:
    """A constant, also one that is cut from another; ``outside`` as of :class:`Cell`."""
    known = outside or {}
    value = value if value is None else known.get(value, value)
    array = const_of(value)
    node = None if value is None else value.producer()
    if array is not None or value is None or node is None or not node.inputs:
        return array
    if is_onnx(node, "Identity"):
        return constant_of(node.inputs[0], known)
    if is_onnx(node, "Concat"):
        parts = [constant_of(each, known) for each in node.inputs]
        whole = [each for each in parts if each is not None]
        axis = attribute(node, "axis", 0)
        return np.concatenate(whole, axis=axis) if len(whole) == len(parts) else None
    cut = is_onnx(node, "Split", "Slice", "Squeeze", "Reshape")
    given = constant_of(node.inputs[0], known) if cut else None
    if given is None:
        return None
    if is_onnx(node, "Reshape"):
        shape = constant_of(node.inputs[1], known)
        plain = shape is not None and bool((shape > 0).all())
        return given.reshape([int(n) for n in shape]) if shape is not None and plain else None
    if is_onnx(node, "Squeeze"):
        axes = ints(node, 1, "axes")
        return given.squeeze(tuple(axes)) if axes is not None else given.squeeze()
    if is_onnx(node, "Split"):
        axis, sizes = attribute(node, "axis", 0), _sizes(node, given.shape)
        if sizes is None:
            return None
        pieces = np.split(given, np.cumsum(sizes)[:-1], axis=axis)
        return pieces[list(node.outputs).index(value)]
    bounds = [ints(node, place, name) for place, name in _BOUNDS]
    if any(each is None for each in bounds) or not _is_dense(node):
        return None
    for start, end, axis in zip(*[each or [] for each in bounds], strict=True):
        given = given[(slice(None),) * (axis % given.ndim) + (slice(start, end),)]
    return given


def _sizes(node: ir.Node, shape: tuple[int, ...]) -> list[int] | None:
    """The lengths of the parts of a Split of ``shape``; None where they are computed."""
    sizes = ints(node, 1, "split")
    if sizes is not None or (len(node.inputs) > 1 and node.inputs[1] is not None):
        return sizes
    size, rest = divmod(shape[attribute(node, "axis", 0)], len(node.outputs))
    return None if rest else [size] * len(node.outputs)


def _is_dense(node: ir.Node) -> bool:
    """Whether a Slice leaves out nothing between its ends."""
    if len(node.inputs) < 5 or node.inputs[4] is None:
        return True
    return set(ints(node, 4) or [0]) == {1}


def _columns(node: ir.Node, value: ir.Value) -> slice | None:
    """Which columns a Split or Slice takes; of equal parts only the number of the part."""
    if is_onnx(node, "Split") and attribute(node, "axis", 0) in (1, -1):
        place, sizes = list(node.outputs).index(value), ints(node, 1, "split")
        if sizes is None and len(node.inputs) > 1 and node.inputs[1] is not None:
            return None
        if sizes is None:
            return slice(place, None)
        start = sum(sizes[:place])
        return slice(start, start + sizes[place])
    if is_onnx(node, "Slice"):
        bounds = zip(*(ints(node, i, n) or [] for i, n in _BOUNDS), strict=False)
        taken = [each for each in bounds if each[0] != 0 or each[1] < _WHOLE]
        if len(taken) == 1 and taken[0][2] in (1, -1) and _is_dense(node):
            return slice(taken[0][0], taken[0][1])
    return None


def _hard(linear: Linear | None, top: float, slope: float = 1.0, shift: float = 0.0) -> Gate | None:
    if linear is None:
        return None
    scaled = linear.changed(lambda matrix: matrix * np.float32(slope))
    if scaled is None:
        return None
    return Gate("HardSigmoid", Linear(scaled.parts, scaled.bias + np.float32(shift)), top)


def _ones(value: ir.Value | None) -> bool:
    """Whether all of a value is one: a constant, or what ConstantOfShape fills."""
    node = None if value is None else value.producer()
    if node is not None and is_onnx(node, "ConstantOfShape"):
        held = attribute(node, "value")
        return held is not None and bool((held.numpy() == 1).all())
    array = const_of(value)
    return array is not None and array.size == 1 and bool(array.item() == 1)


def _casts_to_same(node: ir.Node) -> bool:
    given = node.inputs[0] if node.inputs else None
    if not is_onnx(node, "Cast") or given is None or given.dtype is None:
        return False
    return bool(attribute(node, "to") == given.dtype.value)
