import numpy as np
import pytest

from modelkit.runtime import metrics


def test_known_values() -> None:
    a = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    b = np.array([[3.0, 4.4], [0.0, 0.0]], np.float32)
    assert metrics.max_abs(a, b) == pytest.approx(0.4, rel=1e-6)
    assert metrics.relative(a, b) == pytest.approx(0.1, rel=1e-6)
    assert metrics.sqnr(100.0, 1.0) == pytest.approx(20.0)
    assert metrics.sqnr(1.0, 0.0) == float("inf")
    assert metrics.energies(a, b) == pytest.approx((25.0, 0.16), rel=1e-5)
    assert metrics.cosine(a, a) == pytest.approx(1.0)
    assert metrics.cosine(a, -a) == pytest.approx(0.0)  # one row opposite, one equal
    assert metrics.agreement(np.array([1, 2, 3]), np.array([1, 2, 4])) == pytest.approx(2 / 3)
    assert metrics.top1_agreement(a, b) == 1.0


def test_empty_arrays_are_equal() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert metrics.relative(empty, empty) == 0
    assert metrics.agreement(empty, empty) == 1
    assert metrics.cosine(empty, empty) == 1


def test_neighbours() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 8))
    assert metrics.top10_overlap(rows, rows * 3) == 1.0
    assert metrics.top10_overlap(rows, np.random.default_rng(1).standard_normal((50, 8))) < 0.5
