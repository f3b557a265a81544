"""Eight-bit weights: which numbers, and how they are kept in the graph."""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant, const_of

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16)

_FEWEST_WEIGHTS = 64
LARGEST = 127
_MIDDLE = 128  # zero point of uint8 weights


def is_weight(value: ir.Value | None) -> bool:
    """Whether ``value`` is a constant matrix or stack of floats, worth fewer bits."""
    if value is None or value.is_graph_input():
        return False
    tensor = value.const_value
    if tensor is None:
        array = const_of(value)
        return array is not None and array.dtype.kind == "f" and array.size >= _FEWEST_WEIGHTS
    return tensor.dtype in FLOATS and tensor.size >= _FEWEST_WEIGHTS and len(tensor.shape) > 1


_REPLACEABLE = "its weight is an input with a default, which another value may take the place of"
_SMALL = f"its weights are fewer than {_FEWEST_WEIGHTS}: there is nothing to gain"
_LAYERS = frozenset(("Conv", "ConvTranspose", "Einsum", "Gemm", "GRU", "LSTM", "MatMul", "RNN"))


def why_without(node: ir.Node) -> str | None:
    """Why a layer that has constants for weights has none to quantize; None: it has none at all."""
    matrices = [
        value
        for value in node.inputs
        if value is not None
        and value.const_value is not None
        and value.const_value.dtype in FLOATS
        and len(value.const_value.shape) > 1
    ]
    if any(value.is_graph_input() for value in matrices):
        return _REPLACEABLE
    return _SMALL if matrices and node.op_type in _LAYERS else None


def home(value: ir.Value, graph: ir.Graph) -> ir.Graph:
    """Where what takes the place of a constant that ``graph`` reads belongs: where it is itself.

    Bodies of If, Loop and Scan read weights of the graphs around them, often the same ones.
    """
    return value.graph if isinstance(value.graph, ir.Graph) else graph


def array_of(value: ir.Value | None) -> np.ndarray:
    """The values of a constant as float32."""
    array = const_of(value)
    assert array is not None
    return array if array.dtype == np.float32 else array.astype(np.float32)


@dataclass(frozen=True)
class Packed:
    """A weight in eight bits: ``values`` int8 or uint8, ``scale`` float32, maybe a zero point."""

    values: ir.Value
    scale: ir.Value
    zero_point: ir.Value | None


def symmetric(
    weight: np.ndarray, axis: int | None, largest: int = LARGEST
) -> tuple[np.ndarray, np.ndarray]:
    """``weight`` as int8 and its float32 scale, one along ``axis`` or (None) one in all.

    The scale keeps its axes as length 1, so that values * scale broadcasts.  A channel of zeros
    has scale 1; ``largest`` is 63 where sums of two products would saturate 16 bits.  Non-finite
    weights are the caller's to refuse.
    """
    wide = weight.astype(np.float32)
    others = tuple(a for a in range(wide.ndim) if axis is None or a != axis % wide.ndim)
    peak = np.abs(wide).max(axis=others, keepdims=True) if wide.size else np.ones([1] * wide.ndim)
    scale = np.where(peak > 0, peak / largest, 1.0).astype(np.float32)
    values = np.clip(np.rint(wide / scale), -largest, largest).astype(np.int8)
    return values, scale


@dataclass
class Packer:
    """Quantizes each weight once, however many layers read it."""

    per_channel: bool
    unsigned: bool
    largest: int = LARGEST
    _made: dict[tuple[int, int, str], Packed] = field(default_factory=dict)
    _kept: list[ir.Value] = field(default_factory=list)

    def pack(self, graph: ir.Graph, value: ir.Value, weight: np.ndarray, form: str) -> Packed:
        """``weight`` [..., K, N] in eight bits with one scale a column; ``form`` tells variants."""
        graph = home(value, graph)
        key = (id(graph), id(value), form)
        if key not in self._made:
            self._kept.append(value)  # an id lives as long as its object
            self._made[key] = self._packed(graph, value.name or "weight", weight)
        return self._made[key]

    def _packed(self, graph: ir.Graph, name: str, weight: np.ndarray) -> Packed:
        if weight.ndim == 2:
            values, scale = symmetric(weight, 1 if self.per_channel else None, self.largest)
            scale = scale.reshape(-1) if self.per_channel else scale.reshape(())
        else:
            values, scale = _batched(weight, self.per_channel, self.largest)
        zero_point = None
        if self.unsigned:
            values = (values.astype(np.int16) + _MIDDLE).astype(np.uint8)
            zero_point = add_constant(
                graph, f"{name}_zero_point", np.full(scale.shape, _MIDDLE, np.uint8)
            )
        return Packed(
            add_constant(graph, f"{name}_quantized", values),
            add_constant(graph, f"{name}_scale", scale),
            zero_point,
        )


def _batched(weight: np.ndarray, per_channel: bool, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """A stack of matrices: a scale for each column of each, shaped to multiply the product."""
    wide = weight.astype(np.float32)
    axes: tuple[int, ...] = (-2,) if per_channel else tuple(range(wide.ndim))
    peak = np.abs(wide).max(axis=axes, keepdims=True)
    scale = np.where(peak > 0, peak / largest, 1.0).astype(np.float32)
    return np.clip(np.rint(wide / scale), -largest, largest).astype(np.int8), scale
