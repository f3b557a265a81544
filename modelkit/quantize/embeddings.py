"""Embedding tables in eight bits, one scale a row, widened after the rows were gathered."""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant, add_lazy, release
from modelkit.passes.maker import Maker
from modelkit.quantize.weights import array_of, home, is_weight, symmetric

_SMALLEST_TABLE = 20_000
_AT_ONCE = 1 << 22  # elements, for memory that does not grow with the table


def is_table(value: ir.Value | None) -> bool:
    """Whether a constant is large enough for its size to matter."""
    return is_weight(value) and array_of(value).size >= _SMALLEST_TABLE


@dataclass
class Tables:
    """Quantizes each table once, however many Gathers read it."""

    _made: dict[ir.Value, tuple[ir.Value, ir.Value]] = field(default_factory=dict)

    def shrink(self, node: ir.Node, graph: ir.Graph) -> str | None:
        """Let the Gather ``node`` read int8 rows and their scales; else why not."""
        table, indices = node.inputs[0], node.inputs[1]
        assert table is not None
        shape = table.const_value.shape if table.const_value is not None else ()
        if len(shape) != 2 or (node.attributes.get_int("axis", 0) or 0) % 2 != 0:
            return "its table is not indexed by rows"
        if table not in self._made:
            self._made[table] = _packed(table, home(table, graph))
        packed, scales = self._made[table]
        maker = Maker(graph, node)
        rows = maker.make("Gather", [packed, indices], axis=0)
        factors = maker.make("Gather", [scales, indices], axis=0)
        wide = maker.make("Cast", [rows], to=ir.DataType.FLOAT.value)
        maker.replace(node, maker.back(maker.make("Mul", [wide, factors]), table.dtype))
        return None


def _packed(table: ir.Value, graph: ir.Graph) -> tuple[ir.Value, ir.Value]:
    """Rows in int8, made when they are written, and their scales."""
    array, tensor, name = array_of(table), table.const_value, table.name or "table"
    step = max(1, _AT_ONCE // array.shape[1])
    places = [slice(at, at + step) for at in range(0, len(array), step)]
    scale = np.empty((len(array), 1), np.float32)
    for place in places:
        scale[place] = symmetric(array[place], 0)[1]
        release(tensor)

    def values() -> np.ndarray:
        whole = array_of(table) if tensor is None else tensor.numpy()
        made = np.empty(whole.shape, np.int8)
        for place in places:
            made[place] = symmetric(whole[place], 0)[0]
            release(tensor)
        return made

    dims = (int(array.shape[0]), int(array.shape[1]))
    return (
        add_lazy(graph, f"{name}_quantized", values, ir.DataType.INT8, dims),
        add_constant(graph, f"{name}_scale", scale),
    )
