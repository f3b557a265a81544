"""What a match found, as ``when`` and ``after`` see it."""

from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import const_of
from modelkit.rewrite.expression import Expr

Dim = int | str | None


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
