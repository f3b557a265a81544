"""Weights that stay in their file until somebody asks for their values."""

import mmap
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

_SUB_BYTE_OR_STRING = frozenset(
    {
        ir.DataType.STRING,
        ir.DataType.INT4,
        ir.DataType.UINT4,
        ir.DataType.FLOAT4E2M1,
        ir.DataType.INT2,
        ir.DataType.UINT2,
    }
)


_TILE = 64


class MappedTensor(ir.LazyTensor):
    """A tensor whose bytes are a slice of a mapped file, little-endian as ONNX stores them."""

    __slots__ = ("path", "view")

    def __init__(
        self, view: memoryview, path: Path, dtype: ir.DataType, shape: ir.Shape, name: str | None
    ) -> None:
        self.view = view
        self.path = path
        super().__init__(self._read, dtype=dtype, shape=shape, name=name)

    def _read(self) -> ir.TensorProtocol:
        dims = self.shape.numpy()
        if self.dtype in _SUB_BYTE_OR_STRING:
            proto = onnx.TensorProto(data_type=self.dtype.value, dims=dims)
            proto.raw_data = bytes(self.view)
            return ir.serde.deserialize_tensor(proto)
        # frombuffer keeps the mapping: no copy is made, and the array is read-only.
        array = np.frombuffer(self.view, dtype=self.dtype.numpy()).reshape(dims)
        return ir.Tensor(array, dtype=self.dtype, name=self.name)

    def tobytes(self) -> bytes:
        """The raw bytes, copied out of the file."""
        return bytes(self.view)


def raw(tensor: ir.TensorProtocol) -> memoryview:
    """The tensor's bytes as ONNX stores them, without a copy where it is mapped."""
    if isinstance(tensor, MappedTensor):
        return tensor.view
    if type(tensor) is ir.Tensor and tensor.dtype.bitwidth >= 8 and sys.byteorder == "little":
        array = _laid_out(tensor.numpy())
        if array is not None:
            return memoryview(array.reshape(-1).view(np.uint8).data)
    return memoryview(tensor.tobytes()).cast("B")


def _laid_out(array: np.ndarray) -> np.ndarray | None:
    """A matrix that is the transpose of one, copied tile by tile; None for any other array.

    By whole rows each number read costs a line of the cache: twice the time for large weights.
    """
    rows = array.reshape(array.shape[0], -1) if array.ndim > 1 and array.size else array
    if rows.ndim != 2 or rows.strides[0] >= rows.strides[1] or not np.may_share_memory(rows, array):
        return None
    made = np.empty(rows.shape, rows.dtype)
    for i in range(0, rows.shape[0], _TILE):
        for j in range(0, rows.shape[1], _TILE):
            made[i : i + _TILE, j : j + _TILE] = rows[i : i + _TILE, j : j + _TILE]
    return made


def release(tensor: ir.TensorProtocol | None) -> None:
    """Let the system take back the memory of a mapped tensor, which can be read again.

    Does nothing for other tensors, and on systems without such advice.  Also where the tensor is a
    view, as a transpose, of a mapped one.  Without it the memory in use of a process that copies a
    model grows to the size of the model.
    """
    if isinstance(tensor, MappedTensor):
        release_view(tensor.view)
    elif isinstance(tensor, ir.Tensor):
        base: object = tensor.numpy()
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, memoryview):
            release_view(base)


def release_view(view: memoryview) -> None:
    """The same for a part of a mapped file; nothing for any other memory."""
    whole = view.obj
    if not isinstance(whole, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    start = _address(view) - _address(memoryview(whole))
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (start + view.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        whole.madvise(mmap.MADV_DONTNEED, first, last - first)


def _address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).ctypes.data)
