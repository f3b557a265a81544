"""Linear layers as ``com.microsoft.MatMulNBits``: weights in blocks of 4 or 8 bits.

The activations stay float; with accuracy level 4 the kernel takes them to int8 row by row and
block by block, which keeps large channels from spoiling the others.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant, add_lazy, const_of, release
from modelkit.passes.maker import Maker
from modelkit.quantize.blocks import Blocks, Rounded, Rounding, nearest, packed
from modelkit.quantize.linears import constant_bias
from modelkit.quantize.weights import home, is_weight

DOMAIN = "com.microsoft"

_WORTH_WAITING = 1 << 16  # weights of a layer


def to_nbits(
    node: ir.Node, graph: ir.Graph, blocks: Blocks, *, rounding: Rounding = nearest
) -> str | None:
    """Let one ``MatMul(x, w)``, with the bias behind it, be a MatMulNBits; else why not.

    The layer has the form that :func:`linears.normalize_linears` gives.  The new node bears the
    old one's name.  ``graph`` is the node's; of a subgraph, the main one must import DOMAIN too.
    """
    return Nbits().replace(node, graph, blocks, rounding)


@dataclass
class Nbits:
    """Replaces layers; a weight that several read is kept once.

    ``seen`` is called with each layer's name, its weight and the levels found for it.
    """

    seen: Callable[[str, np.ndarray, Rounded, Blocks], None] | None = None
    _made: dict[tuple[ir.Value, Blocks], list[ir.Value]] = field(default_factory=dict)
    _latest: list[tuple[object, Rounded]] = field(default_factory=list)

    def replace(
        self,
        node: ir.Node,
        graph: ir.Graph,
        blocks: Blocks,
        rounding: Rounding = nearest,
        *,
        lazy: bool = False,
    ) -> str | None:
        """See :func:`to_nbits`; with ``lazy`` levels are found when the model is written.

        That is one weight after another, for models larger than memory.
        """
        x, weight = node.inputs[0], node.inputs[1]
        reason = unfit(node, blocks)
        if reason is not None:
            return reason
        assert x is not None
        assert weight is not None
        rows, columns = _shape(weight)
        graph.opset_imports.setdefault(DOMAIN, 1)
        key = (weight, blocks)
        if key not in self._made:
            place = home(weight, graph)
            self._made[key] = self._constants(node, place, blocks, rounding, lazy)
        added = constant_bias(node)
        bias = None if added is None else _float(added[1], graph)
        maker = Maker(graph, node)
        result = maker.make(
            "MatMulNBits",
            [x, *self._made[key], *([None] * (4 - len(self._made[key]))), bias],
            domain=DOMAIN,
            K=rows,
            N=columns,
            bits=blocks.bits,
            block_size=blocks.size,
            accuracy_level=blocks.accuracy_level,
        )
        maker.name(result)
        maker.replace(node if added is None else added[0], result)
        return None

    def made(self, graph: ir.Graph) -> Iterator[tuple[np.ndarray, Blocks, list[ir.Value]]]:
        """Every weight kept in ``graph`` that was replaced, and what stands for it."""
        for (value, blocks), constants in self._made.items():
            array = const_of(value)
            if home(value, graph) is graph and array is not None:
                yield array, blocks, constants

    def _constants(
        self, node: ir.Node, graph: ir.Graph, blocks: Blocks, rounding: Rounding, lazy: bool
    ) -> list[ir.Value]:
        """Levels, scales and zero points as initializers."""
        weight = node.inputs[1]
        assert weight is not None
        tensor = weight.const_value  # kept here: the value may hold another one while it is written
        assert tensor is not None
        layer = node.name or node.outputs[0].name or ""
        token = object()

        def rounded() -> Rounded:
            if not (self._latest and self._latest[0][0] is token):
                array = tensor.numpy()
                found = rounding(array, blocks)
                if self.seen is not None:
                    self.seen(layer, array, found, blocks)
                release(tensor)
                self._latest[:] = [(token, found)]
            return self._latest[0][1]

        (rows, columns), count = _shape(weight), blocks.count(_shape(weight)[0])
        width, stem = blocks.size * blocks.bits // 8, weight.name or "weight"
        parts: list[tuple[str, Callable[[], np.ndarray], ir.DataType, tuple[int, ...]]] = [
            ("levels", lambda: packed(rounded().levels, blocks.bits), ir.DataType.UINT8,
             (columns, count, width)),
            ("scale", lambda: rounded().scale, ir.DataType.FLOAT, (columns, count)),
        ]  # fmt: skip
        if not blocks.symmetric:
            shape = (columns, -(-count * blocks.bits // 8))
            parts.append(("zero", lambda: _zeros(rounded(), blocks), ir.DataType.UINT8, shape))
        if lazy and rows * columns >= _WORTH_WAITING:
            return [
                add_lazy(graph, f"{stem}_{p}", make, kind, dims) for p, make, kind, dims in parts
            ]
        made = [add_constant(graph, f"{stem}_{part}", make()) for part, make, *_ in parts]
        self._latest.clear()
        return made


def unfit(node: ir.Node, blocks: Blocks) -> str | None:
    """Why the MatMul ``node`` cannot be a MatMulNBits, None if it can."""
    x, weight = node.inputs[0], node.inputs[1]
    if not is_weight(weight):
        return "its weight is not the second operand"
    if is_weight(x):
        return "both operands are constants"
    assert weight is not None
    assert x is not None
    if weight.const_value is None or len(weight.const_value.shape) != 2:
        return "its weight is a stack of matrices, and MatMulNBits takes one"
    kind = weight.const_value.dtype
    if kind != ir.DataType.FLOAT or x.dtype not in (None, ir.DataType.FLOAT):
        return f"it computes in {(x.dtype or kind).name.lower()}"
    rows, columns = _shape(weight)
    if blocks.nbytes(rows, columns) >= 4 * rows * columns:
        return f"blocks of {blocks.size} take more room than its {rows} rows of float"
    return None


def _shape(weight: ir.Value) -> tuple[int, int]:
    assert weight.const_value is not None
    rows, columns = weight.const_value.shape.numpy()
    return int(rows), int(columns)


def _zeros(rounded: Rounded, blocks: Blocks) -> np.ndarray:
    assert rounded.zero is not None
    return packed(rounded.zero, blocks.bits)


def _float(bias: ir.Value, graph: ir.Graph) -> ir.Value:
    """The vector as an initializer, which the kernel wants it to be."""
    if bias.const_value is not None and bias.dtype == ir.DataType.FLOAT:
        return bias
    array = const_of(bias)
    assert array is not None
    return add_constant(graph, f"{bias.name}_float", array.astype(np.float32))
