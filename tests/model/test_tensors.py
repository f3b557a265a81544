from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from modelkit.model.files import mapped
from modelkit.model.tensors import MappedTensor, raw, release


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(6, dtype=np.int64),
        np.array([1.5, -2], dtype=ml_dtypes.bfloat16),
        np.array([1, -3, 7, 2, 5], dtype=ml_dtypes.int4),
        np.zeros((0, 3), np.float16),
    ],
    ids=lambda array: str(array.dtype),
)
def test_bytes_in_a_file_read_as_what_onnx_reads(array: np.ndarray) -> None:
    proto = ir.serde.serialize_tensor(ir.tensor(array, name="t"))
    view = memoryview(proto.raw_data)
    dtype = ir.DataType(proto.data_type)
    tensor = MappedTensor(view, Path("f"), dtype, ir.Shape(array.shape), "t")
    expected = onnx.numpy_helper.to_array(proto)
    np.testing.assert_array_equal(tensor.numpy().astype(np.float64), expected.astype(np.float64))
    assert bytes(raw(tensor)) == proto.raw_data


def test_released_bytes_leave_memory_and_stay_readable(tmp_path: Path) -> None:
    size = 64 << 20
    path = tmp_path / "w"
    path.write_bytes(bytes(100) + b"\1" * size + bytes(100))
    view = mapped(path)[100 : 100 + size]
    tensor = MappedTensor(view, path, ir.DataType.UINT8, ir.Shape([size]), "w")
    assert int(tensor.numpy().sum()) == size
    held = resident()
    release(tensor)
    assert held - resident() > size // 2
    assert int(tensor.numpy().sum()) == size
    release(None)
    release(ir.tensor(np.zeros(9, np.float32)))


def resident() -> int:
    """Bytes of this process in memory."""
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("memory is measured on Linux only")
    line = next(each for each in status.read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (129, 64), (65, 67), (200, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.float64, np.bool_])
def test_a_transposed_weight_is_written_as_its_copy_would_be(
    shape: tuple[int, int], dtype: type
) -> None:
    array: np.ndarray = np.arange(shape[0] * shape[1]).reshape(shape).astype(dtype)
    for view in (array.T, array.T[:, :, None, None], array, array[::-1], array[:, ::2]):
        assert bytes(raw(ir.tensor(view))) == np.ascontiguousarray(view).tobytes()


def test_half_and_small_types_are_written_whole() -> None:
    array = np.arange(12, dtype=np.float16).reshape(3, 4).T
    assert bytes(raw(ir.tensor(array))) == np.ascontiguousarray(array).tobytes()
    four = ir.Tensor(np.arange(-8, 8, dtype=np.int8), dtype=ir.DataType.INT8)
    assert len(raw(four)) == 16
