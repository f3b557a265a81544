"""Weights in half precision, made from the file only while they are written."""

import numpy as np
import onnx_ir as ir

from modelkit.model import release

HALVES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
"""The two formats by the names of their steps in ``runtime.compare.TOLERANCES``."""

LARGEST = {ir.DataType.FLOAT16: 65504.0, ir.DataType.BFLOAT16: 3.3895313892515355e38}
SMALLEST_NORMAL = {ir.DataType.FLOAT16: 2.0**-14, ir.DataType.BFLOAT16: 2.0**-126}
SMALLEST = {ir.DataType.FLOAT16: 2.0**-24, ir.DataType.BFLOAT16: 2.0**-133}


def rounded(array: np.ndarray, half: ir.DataType) -> np.ndarray:
    """``array`` in the nearest values of ``half``; beyond its range infinity."""
    with np.errstate(over="ignore"):
        return array.astype(half.numpy())


def narrowed(tensor: ir.TensorProtocol, half: ir.DataType) -> ir.LazyTensor:
    """``tensor`` rounded to ``half``, each time somebody asks for its values and not before."""

    def make() -> ir.TensorProtocol:
        array = rounded(tensor.numpy(), half)
        release(tensor)
        return ir.Tensor(array, dtype=half, name=tensor.name)

    shape = ir.Shape(list(tensor.shape.numpy()))
    return ir.LazyTensor(make, dtype=half, shape=shape, name=tensor.name)
