import numpy as np
import pytest

from modelkit.quantize.weights import symmetric
from tests.harness import floats


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_error_is_at_most_half_a_step(axis: int | None) -> None:
    weight = floats(16, 24) * np.linspace(0.01, 10, 24, dtype=np.float32)
    values, scale = symmetric(weight, axis)
    assert values.dtype == np.int8
    assert np.abs(values).max() == 127
    assert (np.abs(values * scale - weight) <= scale * 0.5001).all()
    assert scale.shape == {None: (1, 1), 0: (16, 1), 1: (1, 24)}[axis]


def test_a_channel_of_zeros_has_scale_one() -> None:
    values, scale = symmetric(np.zeros((3, 2), np.float32), 1)
    assert not values.any()
    np.testing.assert_array_equal(scale, [[1, 1]])


def test_nothing_is_nothing() -> None:
    assert symmetric(np.zeros((0, 2), np.float32), 1)[0].shape == (0, 2)
