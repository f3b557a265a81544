import numpy as np
import pytest

from modelkit.precision.ranges import measure_ranges
from tests.models import Feeds
from tests.precision.graphs import FP16, graph


def feeds(*values: float) -> Feeds:
    return {"x": np.array(values, np.float32)}


def test_peaks_and_what_rounding_leaves_are_measured_over_all_samples() -> None:
    model = graph("(float[n] x) => (float[n] z) <float k = {1e5}, float t = {1e-9}> { y = Mul(x, k) w = Mul(x, t) z = Add(y, w) }")  # fmt: skip
    found = measure_ranges(model, ["x", "y", "w"], FP16, [feeds(0.25, 0.75), feeds(-3, 0)])
    assert found["x"].peak == 3 and found["x"].kept == 999
    assert found["y"].peak == pytest.approx(3e5) and found["y"].kept == -999
    assert found["w"].peak == pytest.approx(3e-9, rel=1e-3) and found["w"].kept < 1


def test_values_that_half_holds_keep_seventy_decibels() -> None:
    model = graph("(float[n] x) => (float[n] y) { y = Neg(x) }")
    random = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    assert 70 < measure_ranges(model, ["y"], FP16, [{"x": random}])["y"].kept < 76


def test_empty_tensors_and_infinities_of_the_model_itself_are_no_finding() -> None:
    model = graph("(float[n] x) => (float[n] y) { y = Log(x) }")
    found = measure_ranges(model, ["x", "y"], FP16, [feeds(), feeds(0.0, 1.0)])
    assert found["y"].peak == float("inf") and found["y"].kept == 999


def test_doubles_are_measured_too() -> None:
    model = graph("(double[n] x) => (double[n] y) { y = Neg(x) }")
    found = measure_ranges(model, ["y"], FP16, [{"x": np.array([1e5, -7e4])}])
    assert found["y"].peak == 1e5 and found["y"].kept == -999


LOOP = """(float[2] x, int64 n) => (float[2] y, float[k, 2] s) <float two = {2.0}>
{ y, s = Loop(n, , x) <body = b (int64 i, bool c, float[2] h) => (bool d, float[2] g, float[2] o)
  { g = Mul(h, two) o = Neg(g) d = Identity(c) }> }"""


@pytest.mark.parametrize(("rounds", "peak"), [(3, 8), (16, 65536), (0, 0)])
def test_values_in_loops_show_their_worst_round(rounds: int, peak: float) -> None:
    model = graph(LOOP)
    sample = {"x": np.ones(2, np.float32), "n": np.array(rounds)}
    found = measure_ranges(model, ["g", "o"], FP16, [sample])
    assert found["g"].peak == found["o"].peak == peak
    assert (found["g"].kept < 0) == (peak > 65504)


def test_values_in_branches_are_seen_when_taken() -> None:
    text = """(float[2] x, bool c) => (float[2] y) <float k = {1e5}>
    { y = If(c) <then_branch = a () => (float[2] t) { t = Mul(x, k) },
                 else_branch = b () => (float[2] e) { e = Neg(x) }> }"""
    model = graph(text)
    ones = np.ones(2, np.float32)
    found = measure_ranges(model, ["t", "e"], FP16, [{"x": ones, "c": np.array(True)}])
    assert found["t"].peak == np.float32(1e5) and found["e"].peak == 0
    both = [{"x": ones, "c": np.array(flag)} for flag in (True, False)]
    assert measure_ranges(model, ["t", "e"], FP16, both)["e"].peak == 1


def test_the_model_is_left_as_it_was_and_unused_inputs_are_no_obstacle() -> None:
    model = graph("(float[n] x, float[n] unused) => (float[n] y) { y = Neg(x) }")
    before = [each.op_type for each in model.graph]
    sample = {"x": np.ones(3, np.float32), "unused": np.ones(3, np.float32)}
    assert measure_ranges(model, ["y"], FP16, [sample])["y"].peak == 1
    assert [each.op_type for each in model.graph] == before
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert measure_ranges(model, [], FP16, [sample]) == {}
