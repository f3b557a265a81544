"""What is known about a model's values while it is being read: shapes, and contents of small ones.

Rules in ``shapes`` and ``contents`` ask this book; ``infer_symbols`` fills it in graph order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import const_of
from modelkit.model.dims import Dim, name, parse

MAX_ITEMS = 64

Shape = tuple[Dim, ...]
INTEGERS = frozenset((ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL))


@dataclass(frozen=True)
class Content:
    """The elements of an integer tensor of rank 0 (``scalar``) or 1; None where unknown."""

    items: tuple[Dim | None, ...]
    scalar: bool = False

    @property
    def integers(self) -> tuple[int, ...] | None:
        """The elements, when all are plain integers."""
        if all(isinstance(item, int) for item in self.items):
            return tuple(item for item in self.items if isinstance(item, int))
        return None


@dataclass
class Known:
    """The book: shapes and contents by value, the opset, and names not to hand out again."""

    version: int
    taken: set[str]
    shapes: dict[ir.Value, Shape] = field(default_factory=dict)
    contents: dict[ir.Value, Content | None] = field(default_factory=dict)
    made: set[Dim] = field(default_factory=set)
    count: int = 0

    def fresh(self) -> Dim:
        """A dim equal to no other."""
        while True:
            word = f"unk_{self.count}"
            self.count += 1
            if word not in self.taken:
                dim = name(word)
                self.made.add(dim)
                return dim

    def is_fresh(self, dim: Dim) -> bool:
        """Whether ``dim`` is a name made here, which says nothing of the size."""
        return dim in self.made

    def shape(self, value: ir.Value | None) -> Shape | None:
        """The dims of a value, None where even their number is unknown."""
        if value is None:
            return None
        found = self.shapes.get(value)
        if found is None:
            found = self.declared(value)
            if found is not None:
                self.shapes[value] = found
        return found

    def declared(self, value: ir.Value) -> Shape | None:
        """The dims the model states; unnamed ones become fresh names."""
        if value.const_value is not None and not value.is_graph_input():
            return tuple(int(dim) for dim in value.const_value.shape)  # type: ignore[arg-type]
        if value.shape is None:
            return None
        return tuple(self._dim(dim) for dim in value.shape)

    def _dim(self, dim: int | ir.SymbolicDim) -> Dim:
        if isinstance(dim, int):
            return dim if dim >= 0 else self.fresh()
        return parse(dim.value) if dim.value else self.fresh()

    def content(self, value: ir.Value | None) -> Content | None:
        """The elements of a small integer tensor, where known."""
        if value is None:
            return None
        if value not in self.contents:
            self.contents[value] = _constant(value)
        return self.contents[value]

    def integers(self, value: ir.Value | None) -> tuple[int, ...] | None:
        """The elements of a small tensor, when all are plain integers."""
        content = self.content(value)
        return None if content is None else content.integers

    def axes(self, node: ir.Node, position: int) -> tuple[int, ...] | None:
        """Axes from input ``position``, or from the attribute; () when neither is there."""
        if position < len(node.inputs) and node.inputs[position] is not None:
            return self.integers(node.inputs[position])
        found = option(node, "axes")
        return () if found is None else tuple(found)


def _constant(value: ir.Value) -> Content | None:
    if value.is_graph_input():
        return None
    tensor = value.const_value
    if tensor is None:
        node = value.producer()
        if node is None or node.op_type != "Constant":
            return None
        tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.dtype not in INTEGERS or tensor.size > MAX_ITEMS:
        return None
    if len(tensor.shape) > 1:
        return None
    array = const_of(value)
    assert array is not None
    return Content(tuple(int(item) for item in np.ravel(array)), array.ndim == 0)


def option(node: ir.Node, label: str, default: Any = None) -> Any:
    """An attribute's plain value; ``default`` when absent or a function's parameter."""
    found = node.attributes.get(label)
    if found is None or found.is_ref():
        return default
    return found.as_string() if found.type is ir.AttributeType.STRING else found.value


def wrapped(found: Sequence[int], length: int) -> set[int] | None:
    """Axes counted from the front; None when one is out of range."""
    axes = {axis + length if axis < 0 else axis for axis in found}
    return axes if all(0 <= axis < length for axis in axes) else None
