import re

import numpy as np
import pytest

from modelkit.precision.narrow import HALVES
from modelkit.precision.rules import Subject, fidelity, lost, named_by_user
from modelkit.precision.slots import all_slots
from tests.precision.graphs import BF16, FP16, graph, kept

NORM = """(float[n, 8] x) => (float[n, 8] y) <float[8] g, float two = {2.0}, float eps = {1e-5}>
{ m = ReduceMean<axes = [1]>(x) d = Sub(x, m) SQUARE v = ReduceMean<axes = [1]>(s)
  e = Add(v, eps) r = Sqrt(e) q = Div(d, r) y = Mul(q, g) }"""


@pytest.mark.parametrize("square", ["s = Pow(d, two)", "s = Mul(d, d)"])
@pytest.mark.parametrize("half", [FP16, BF16])
def test_a_norm_spelled_out_keeps_float_from_the_square_to_the_root(
    square: str, half: object
) -> None:
    found = kept(NORM.replace("SQUARE", square), half)  # type: ignore[arg-type]
    wanted = {"s", "e", "r"} | ({"v"} if half is FP16 else set())  # CUDA has no bfloat16 mean
    assert {name for name, why in found.items() if "normalization" in why} == wanted
    assert "q" not in found and "y" not in found


def test_sums_and_powers_keep_float_in_fp16_only() -> None:
    text = """(float[n, 8] x) => (float a, float[n, 8] b, float[n, 8] c)
    <float three = {3.0}, float half = {0.5}>
    { a = ReduceSum<keepdims = 0>(x) b = Pow(x, three) c = Pow(x, half) }"""
    assert set(kept(text)) == {"a", "b"}
    assert kept(text, BF16) == {}


def test_positions_keep_float_until_they_meet_activations() -> None:
    text = """(float[n, 4] x, int64[n, 1] p) => (float[n, 4] y) <float[1, 4] f>
    { i = Cast<to = 1>(p) a = MatMul(i, f) c = Cos(a) y = Mul(x, c) }"""
    found = kept(text)
    assert set(found) == {"a", "c"}
    assert "beyond 2048" in found["a"]
    assert "beyond 256" in kept(text, BF16)["a"]


def test_constants_that_are_moved_stay_with_the_positions() -> None:
    text = """(int64[1, n] p) => (float[4, n] y) <float[1, 4, 1] f>
    { s = Constant<value = int64[3] {1, 4, 1}>() e = Expand(f, s) i = Cast<to = 1>(p)
      a = MatMul(e, i) y = Squeeze(a) }"""
    assert {"a", "y"} <= set(kept(text))


def test_flags_are_no_positions() -> None:
    text = """(float[n, 4] x, int64[n, 4] p) => (float[n, 4] y)
    { z = Constant<value_int = 2>() b = Greater(p, z) f = Cast<to = 1>(b) g = Neg(f) y = Mul(x, g) }"""
    assert kept(text) == {}


def test_constants_out_of_range_keep_their_readers() -> None:
    text = """(float[n] x) => (float[n] a, float[n] b, float[n] c)
    <float large = {1e6}, float tiny = {1e-9}, float fine = {1e-3}>
    { a = Mul(x, large) b = Add(x, tiny) c = Mul(x, fine) }"""
    found = kept(text)
    assert set(found) == {"a", "b"}
    assert "reaches 1e+06" in found["a"] and "become 0" in found["b"]
    assert kept(text, BF16) == {}


def test_bounds_of_clip_may_lie_beyond_the_range() -> None:
    text = """(float[n] x) => (float[n] y) <float low = {-1e9}, float high = {1e9}>
    { y = Clip(x, low, high) }"""
    assert kept(text) == {}


def test_layers_in_eight_bits_are_left_alone() -> None:
    text = """(float[n, 4] x) => (float[n, 4] y) <float[4, 4] w, float s = {0.1}>
    { z = Constant<value = uint8 {0}>() q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
      y = MatMul(d, w) }"""
    assert set(kept(text, opset=19)) == {"d", "q", "y"} or "y" in kept(text, opset=19)


def test_the_transpose_that_crashes_onnx_runtime_keeps_float() -> None:
    text = """(float[n, 4, 8] x) => (float[4, n, 2] y) <float[8, 2] w>
    { t = Transpose<perm = [1, 0, 2]>(x) y = MatMul(t, w) }"""
    assert "crashes" in kept(text)["t"]
    assert kept(text.replace("[1, 0, 2]", "[0, 2, 1]").replace("[8, 2]", "[4, 2]")) == {}


def test_scattering_with_a_reduction_keeps_float() -> None:
    text = """(float[4] x, int64[2, 1] i, float[2] u) => (float[4] y)
    { y = ScatterND<reduction = "add">(x, i, u) }"""
    assert "scatter" in kept(text)["y"]
    assert kept(text.replace('<reduction = "add">', "")) == {}


def test_names_and_operators_match_what_the_user_gave() -> None:
    model = graph("(float[n] x) => (float[n] y) { [one] a = Relu(x) [two] y = Neg(a) }")
    for pattern, wanted in (("^one$", {"one"}), ("Neg", {"two"}), ("e", {"one", "two"})):
        subject = Subject(model, FP16, all_slots(model, FP16), (re.compile(pattern),))
        named_by_user(subject)
        assert {each.name for each in subject.keep} == wanted
        assert set(subject.keep.values()) == {f"--keep {pattern}"}


def test_lost_says_what_half_cannot_hold() -> None:
    fine = np.array([1.0, -2.0, 0.0, np.inf, -np.inf], np.float32)
    assert lost(fine, FP16) == "" and lost(np.zeros(0, np.float32), FP16) == ""
    assert "half ends at 65504" in lost(np.array([7e4], np.float32), FP16)
    assert "keeps" in lost(np.array([1e-6], np.float32), FP16)
    assert lost(np.array([1e-30], np.float32), BF16) == ""


@pytest.mark.parametrize(("step", "least"), [("fp16", 70), ("bf16", 50)])
def test_fidelity_is_that_of_the_significand(step: str, least: int) -> None:
    array = np.random.default_rng(0).standard_normal(10000).astype(np.float32)
    assert least < fidelity(array, HALVES[step]) < least + 8
    assert fidelity(np.zeros(3, np.float32), HALVES[step]) == 999
