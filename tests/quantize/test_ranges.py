import resource

import numpy as np
import pytest

from modelkit.quantize.ranges import METHODS, Range, find_ranges
from tests.quantize.graphs import model_of

MODEL = "(float[n] x) => (float[n] y) { y = Abs(x) }"


def found(method: str, *values: np.ndarray) -> Range:
    samples = [{"x": value.astype(np.float32)} for value in values]
    return find_ranges(model_of(MODEL), {"x": method}, lambda: iter(samples))["x"]


def quantized_error(values: np.ndarray, reach: Range) -> float:
    step = (reach.high - reach.low) / 255
    rounded = np.clip(np.rint((values - reach.low) / step), 0, 255) * step + reach.low
    return float(np.square(rounded - values).mean())


def test_all_values_are_inside_and_so_is_zero() -> None:
    assert found("minmax", np.array([3.0, 5.0]), np.array([4.0])) == Range(0, 5)
    assert found("minmax", np.array([-2.0]), np.array([1.0, 0.5])) == Range(-2, 1)


@pytest.mark.parametrize("method", METHODS)
def test_ragged_empty_and_constant_samples_have_a_range(method: str) -> None:
    reach = found(method, np.zeros(3), np.ones(7), np.ones(0))
    assert reach.low == 0
    assert 0.9 <= reach.high <= 1
    assert found(method, np.zeros(4)) == Range(0, 0)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_a_lone_outlier_is_cut_off(method: str) -> None:
    values = np.random.default_rng(0).standard_normal(50_000)
    values[0] = 60
    reach = found(method, values)
    assert reach.high < 40
    assert reach.low > -7


def test_the_smallest_squared_error_is_smaller_than_with_all_values() -> None:
    values = np.random.default_rng(0).standard_t(3, 50_000)
    exact, whole = found("mse", values), found("minmax", values)
    assert quantized_error(values, exact) < 0.95 * quantized_error(values, whole)


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    value = np.random.default_rng(0).standard_normal(500_000).astype(np.float32)
    model = model_of(MODEL)

    def peak(count: int) -> int:
        find_ranges(model, {"x": "mse"}, lambda: iter([{"x": value}] * count))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    few = peak(2)
    # Kept values would be 2 MB a sample.
    assert peak(40) - few < 20_000
