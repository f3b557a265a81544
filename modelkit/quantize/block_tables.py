"""Embedding tables in eight bits; one that a head multiplies by shares that layer's levels."""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant, const_of
from modelkit.passes.maker import Maker
from modelkit.quantize.blocks import Blocks
from modelkit.quantize.embeddings import Tables
from modelkit.quantize.nbits import Nbits
from modelkit.quantize.weights import home


@dataclass
class BlockTables:
    """Shrinks tables; ``count`` of them, ``shared`` with a layer of ``nbits``."""

    nbits: Nbits
    count: int = 0
    shared: int = 0
    _rows: Tables = field(default_factory=Tables)

    def shrink(self, node: ir.Node, graph: ir.Graph, blocks: Blocks) -> str | None:
        """Let the Gather ``node`` read levels of eight bits; else why not."""
        table = node.inputs[0]
        found = None if node.attributes.get_int("axis", 0) else self._twin(graph, table)
        if found is None:
            reason = self._rows.shrink(node, graph)
            self.count += reason is None
            return reason
        levels, scale, blocks = found
        array, indices = const_of(table), node.inputs[1]
        assert array is not None
        assert table is not None
        maker = Maker(graph, node)
        wide = maker.make("Gather", [levels, indices], axis=0)
        factors = maker.make("Gather", [scale, indices], axis=0)
        middle = add_constant(graph, "middle", np.array(blocks.middle, np.float32))
        last = add_constant(graph, "last", np.array([-1], np.int64))
        centred = maker.make(
            "Sub", [maker.make("Cast", [wide], to=ir.DataType.FLOAT.value), middle]
        )
        scaled = maker.make("Mul", [centred, maker.make("Unsqueeze", [factors, last])])
        rows = self._flat(maker, graph, scaled, indices, array.shape[1], blocks)
        maker.replace(node, maker.back(rows, table.dtype))
        self.count += 1
        self.shared += 1
        return None

    def _twin(
        self, graph: ir.Graph, table: ir.Value | None
    ) -> tuple[ir.Value, ir.Value, Blocks] | None:
        """Levels [rows, blocks, size] and scales that stand for ``table`` turned."""
        array = const_of(table)
        if array is None or array.ndim != 2:
            return None
        assert table is not None
        for weight, blocks, constants in self.nbits.made(home(table, graph)):
            if blocks.bits == 8 and blocks.symmetric and _turned(weight, array):
                return constants[0], constants[1], blocks
        return None

    def _flat(
        self,
        maker: Maker,
        graph: ir.Graph,
        value: ir.Value,
        indices: ir.Value | None,
        width: int,
        blocks: Blocks,
    ) -> ir.Value:
        """[..., blocks, size] as [..., width]."""
        whole = blocks.count(width) * blocks.size
        tail = add_constant(graph, "width", np.array([whole], np.int64))
        shape = maker.make("Concat", [maker.make("Shape", [indices]), tail], axis=0)
        flat = maker.make("Reshape", [value, shape])
        if whole == width:
            return flat
        bounds = [add_constant(graph, "bound", np.array([at], np.int64)) for at in (0, width, -1)]
        return maker.make("Slice", [flat, *bounds])


def _turned(weight: np.ndarray, table: np.ndarray) -> bool:
    """Whether ``weight`` is the transpose of ``table``: the same memory, or the same values."""
    if weight.shape != table.shape[::-1] or weight.dtype != table.dtype:
        return False
    if weight.ctypes.data == table.ctypes.data and weight.strides == table.strides[::-1]:
        return True
    step = max(1, (1 << 22) // max(1, table.shape[1]))
    places = range(0, len(table), step)
    return all(np.array_equal(weight.T[at : at + step], table[at : at + step]) for at in places)
