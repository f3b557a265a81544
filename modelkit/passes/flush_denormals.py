"""Set weights to zero that are too small to count and slow to multiply with."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, release
from modelkit.model.walk import nodes
from modelkit.passes.changes import Changes

# Operator to the positions of its weights: only what is multiplied with, or added to products.
_WEIGHTS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "FusedConv": (1, 2),
    "FusedMatMul": (0, 1),
    "GRU": (1, 2, 3),
    "Gemm": (0, 1, 2),
    "LSTM": (1, 2, 3),
    "MatMul": (0, 1),
    "RNN": (1, 2, 3),
    "BatchNormalization": (1, 2),
}
_KEY = "modelkit.flushed"
_EXPONENT = 23  # bits of the fraction before it
SMALLEST = -100
"""Numbers below two to this power are set to zero; those below 2**-126 are denormal."""
_LIMIT = np.uint32((127 + SMALLEST) << _EXPONENT)
_SIGN = np.uint32(0x7FFFFFFF)
_CHUNK = 1 << 20


def flush_denormals(model: Model) -> Changes:
    """Set float32 weights of linear layers and BatchNormalizations below 2**-100 to zero.

    Training with weight decay leaves them where nothing is learned, and folding a layer into the
    next makes more.  What they add is lost in the rounding of any sum that counts; but a processor
    leaves its fast path for each product with a denormal number (x86: an assist of some hundred
    cycles), and makes denormal activations of the others.  Other uses of a constant keep it as it
    is: the logarithm of 1e-38 is not that of zero.
    """
    tensors, numbers = 0, 0
    for value in _weights(model):
        tensor = value.const_value
        assert tensor is not None
        found = _tiny(tensor)
        if found:
            value.const_value = ir.tensor(_flushed(tensor), name=value.name)
            tensors, numbers = tensors + 1, numbers + found
        value.meta[_KEY] = value.const_value
    return Changes(tensors, (f"{numbers} numbers in {tensors} tensors",) if tensors else ())


def tiny_weights(model: Model, *, most: int) -> Iterator[ir.Value]:
    """The weights that :func:`flush_denormals` changes, seen from ``most`` numbers of each."""
    for value in _weights(model):
        assert value.const_value is not None
        if _tiny(value.const_value, most):
            yield value


def _weights(model: Model) -> Iterator[ir.Value]:
    """Each constant that is nothing but the weight of layers, and was not looked at before."""
    seen: set[ir.Value] = set()
    for node in nodes(model):
        for position in _WEIGHTS.get(node.op_type, ()):
            value = node.inputs[position] if position < len(node.inputs) else None
            if value is None or value in seen or not _is_constant(value):
                continue
            seen.add(value)
            if value.meta.get(_KEY) is value.const_value or value.dtype != ir.DataType.FLOAT:
                continue
            if all(at in _WEIGHTS.get(user.op_type, ()) for user, at in value.uses()):
                yield value


def _is_constant(value: ir.Value) -> bool:
    held = value.const_value is not None and value.is_initializer()
    return held and not value.is_graph_input() and not value.is_graph_output()


def _tiny(tensor: ir.TensorProtocol, most: int | None = None) -> int:
    """How many of the numbers, or of the first ``most``, become zero."""
    bits = tensor.numpy().reshape(-1)[:most].view(np.uint32)
    count = 0
    for start in range(0, bits.size, _CHUNK):
        sizes = bits[start : start + _CHUNK] & _SIGN
        # Zero wraps around to the largest number.
        count += int(np.count_nonzero(sizes - np.uint32(1) < _LIMIT - np.uint32(1)))
    release(tensor)
    return count


def _flushed(tensor: ir.TensorProtocol) -> np.ndarray:
    array = tensor.numpy().copy()
    release(tensor)
    array[(array.view(np.uint32) & _SIGN) < _LIMIT] = 0
    return array
