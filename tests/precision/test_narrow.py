import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from modelkit.precision.narrow import HALVES, LARGEST, SMALLEST, SMALLEST_NORMAL, narrowed, rounded


@pytest.mark.parametrize("half", HALVES.values())
def test_the_limits_are_those_of_the_format(half: ir.DataType) -> None:
    info = ml_dtypes.finfo(half.numpy())
    assert float(info.max) == LARGEST[half]
    assert float(info.smallest_normal) == SMALLEST_NORMAL[half]
    assert float(info.smallest_subnormal) == SMALLEST[half]


def test_values_are_rounded_to_nearest_and_overflow_to_infinity() -> None:
    array = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65519, 65520, -1e9, 1e-9], np.float32)
    found = rounded(array, ir.DataType.FLOAT16)
    assert found.tolist() == [1, 1 + 2**-9, 65504, float("inf"), float("-inf"), 0]


@pytest.mark.parametrize("half", HALVES.values())
def test_a_narrowed_weight_is_made_anew_each_time_and_never_kept(half: ir.DataType) -> None:
    calls = []
    array = np.linspace(-2, 2, 30, dtype=np.float32).reshape(5, 6)

    def read() -> ir.Tensor:
        calls.append(1)
        return ir.Tensor(array)

    source = ir.LazyTensor(read, dtype=ir.DataType.FLOAT, shape=ir.Shape((5, 6)), name="w")
    found = narrowed(source, half)
    assert not calls and found.nbytes == 60 and found.dtype is half
    assert found.tobytes() == array.astype(half.numpy()).tobytes()
    np.testing.assert_array_equal(found.numpy(), array.astype(half.numpy()))
    assert len(calls) == 2
