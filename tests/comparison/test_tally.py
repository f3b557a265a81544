import numpy as np
import pytest

from modelkit.comparison.tally import Tally, quality


def test_figures_over_several_runs() -> None:
    tally = Tally()
    tally.add(np.array([[1.0, 2.0]]), np.array([[1.0, 2.5]]))
    tally.add(np.array([[4.0, 0.0]]), np.array([[4.0, 0.0]]))
    found = tally.result("y")
    assert found.max_abs == 0.5
    assert found.relative == pytest.approx(0.125)
    assert found.sqnr == pytest.approx(10 * np.log10(21 / 0.25))
    assert found.agreement == 1.0


def test_other_shapes_or_infinities_are_infinitely_far() -> None:
    for other in (np.ones((1, 3)), np.array([[1.0, np.inf]])):
        tally = Tally()
        tally.add(np.ones((1, 2)), other)
        assert tally.result("y").relative == np.inf


def test_quality_is_that_of_the_first_output() -> None:
    found = quality([{"a": np.ones((2, 2))}], lambda feeds: {"b": np.ones((2, 2))}, [{}])
    assert found.output == "a"
    assert found.cosine == pytest.approx(1)
