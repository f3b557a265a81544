"""Embedding tables in eight bits, one scale a row, widened after the rows were gathered."""

from dataclasses import dataclass, field

import onnx_ir as ir

from modelkit.model import add_constant
from modelkit.quantize.maker import Maker
from modelkit.quantize.weights import array_of, is_weight, symmetric

_SMALLEST_TABLE = 20_000


def is_table(value: ir.Value | None) -> bool:
    """Whether a constant is large enough for its size to matter."""
    return is_weight(value) and array_of(value).size >= _SMALLEST_TABLE


@dataclass
class Tables:
    """Quantizes each table once, however many Gathers read it."""

    _made: dict[tuple[int, ir.Value], tuple[ir.Value, ir.Value]] = field(default_factory=dict)

    def shrink(self, node: ir.Node, graph: ir.Graph) -> str | None:
        """Let the Gather ``node`` read int8 rows and their scales; else why not."""
        table, indices = node.inputs[0], node.inputs[1]
        assert table is not None
        shape = table.const_value.shape if table.const_value is not None else ()
        if len(shape) != 2 or (node.attributes.get_int("axis", 0) or 0) % 2 != 0:
            return "its table is not indexed by rows"
        key = (id(graph), table)
        if key not in self._made:
            values, scale = symmetric(array_of(table), 0)
            name = table.name or "table"
            self._made[key] = (
                add_constant(graph, f"{name}_quantized", values),
                add_constant(graph, f"{name}_scale", scale),
            )
        packed, scales = self._made[key]
        maker = Maker(graph, node)
        rows = maker.make("Gather", [packed, indices], axis=0)
        factors = maker.make("Gather", [scales, indices], axis=0)
        wide = maker.make("Cast", [rows], to=ir.DataType.FLOAT.value)
        maker.replace(node, maker.back(maker.make("Mul", [wide, factors]), table.dtype))
        return None
