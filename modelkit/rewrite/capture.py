"""What a match found, as ``when`` and ``after`` see it."""

from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import const_of
from modelkit.model.dims import at, fold, multiple
from modelkit.rewrite.expression import Expr, Operand, op

Dim = int | str | None


def _number(number: int) -> Operand:
    return np.array([number], np.int64)


_LENGTHS = {
    "Add": op.Add, "Sub": op.Sub, "Mult": op.Mul, "FloorDiv": op.Div, "Min": op.Min, "Max": op.Max,
    "Windows": lambda room, stride: op.Add(op.Div(room, stride), _number(1)),
}  # fmt: skip


class Capture(Expr):
    """A value of the graph; usable as an operand of ``after``."""

    def __init__(self, value: ir.Value | None) -> None:
        super().__init__()
        self.value = value

    @property
    def const(self) -> np.ndarray | None:
        """The array, when it is known before the model runs."""
        return const_of(self.value)

    @property
    def shape(self) -> tuple[Dim, ...] | None:
        """Lengths and names of axes (None where an axis has no name); None without a rank."""
        if self.value is None or self.value.shape is None:
            return None
        return tuple(
            dim if isinstance(dim, int) else getattr(dim, "value", None) for dim in self.value.shape
        )

    def length(self, axis: int, usual: int) -> int | None:
        """How long ``axis`` is where the open axes of the model's inputs are ``usual`` long.

        None where that does not follow from them.
        """
        dim = self.shape[axis] if self.shape is not None else None
        lengths = {name: usual // factor for name, (_, _, factor) in self._sources().items()}
        return at(dim, lengths) if isinstance(dim, str) else dim

    def measured(self, axis: int) -> Operand | None:
        """The length of ``axis``, int64 [1], computed from the shapes of the model's inputs."""
        dim, sources = None if self.shape is None else self.shape[axis], self._sources()

        def named(word: str) -> Operand | None:
            if word not in sources:
                return None
            value, place, factor = sources[word]
            length = op.Gather(op.Shape(value), _number(place))
            return length if factor == 1 else op.Div(length, _number(factor))

        return fold(str(dim), named, _number, _LENGTHS)

    def _sources(self) -> dict[str, tuple["Capture", int, int]]:
        """Names in the shapes of the model's inputs: an axis that is so many times as long."""
        graph = None if self.value is None else self.value.graph
        found: dict[str, tuple[Capture, int, int]] = {}
        for value in () if graph is None else graph.inputs:
            each = Capture(value)
            for axis, dim in enumerate(each.shape or ()):
                name = multiple(dim) if isinstance(dim, str) else None
                if name is not None:
                    found.setdefault(name[0], (each, axis, name[1]))
        return found

    def aligned(self, rank: int) -> tuple[Dim, ...] | None:
        """The shape as broadcasting to ``rank`` axes sees it, with axes of one in front.

        None where it has more axes, or no shape is known.
        """
        shape = self.shape
        if shape is None and self.const is not None:
            shape = self.const.shape
        if shape is None or len(shape) > rank:
            return None
        return (1,) * (rank - len(shape)) + shape

    @property
    def dtype(self) -> ir.DataType | None:
        """The element type, when it is known."""
        if self.value is None:
            return None
        if self.value.const_value is not None:
            return self.value.const_value.dtype
        return self.value.dtype

    @property
    def is_constant(self) -> bool:
        """Whether the array is known, without reading it."""
        if self.value is None or self.value.is_graph_input():
            return False
        node = self.value.producer()
        return self.value.const_value is not None or (
            node is not None and node.op_type == "Constant"
        )

    @property
    def node(self) -> ir.Node | None:
        """The operator that makes the value."""
        return None if self.value is None else self.value.producer()

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes of the operator that makes the value, as Python values."""
        node = self.node
        return {} if node is None else {k: a.value for k, a in node.attributes.items()}
