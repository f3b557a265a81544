from pathlib import Path
from typing import Any

import pytest

from modelkit.errors import CheckFailed
from modelkit.quantize.options import Options
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.refusals import (
    already_quantized,
    nothing,
    slow_but_small,
    slower,
    too_coarse,
    unmatched,
)
from modelkit.reports import Interval, SpeedVerdict
from tests.quantize.graphs import model_of

SLOW = SpeedVerdict(Interval(0.8, 0.7, 0.9), False, "slower than the source")
LOOSE = """(float[n] x) => (float[n] y) <float s = {0.1}, uint8 z = {0}>
{ e = Exp(x) q = QuantizeLinear(e, s, z) d = DequantizeLinear(q, s, z) y = Erf(d) }"""


def test_a_lost_race_names_its_causes_and_what_to_try() -> None:
    outcome = Outcome(candidates=3, quantized=2)
    outcome.skip(model_of(LOOSE).graph[0], "no reason")
    error = slower(Path("m.onnx"), model_of(LOOSE), outcome, SLOW, "dynamic")
    assert error.cause.startswith("slower than the source (0.80x); ")
    assert "1 QDQ pairs do not fuse" in error.cause
    assert "1 of 3 layers stay in float" in error.cause
    assert "--static" in error.hint
    plain = slower(
        Path("m.onnx"),
        model_of("(float[n] x) => (float[n] y) { y = Exp(x) }"),
        Outcome(),
        SLOW,
        "static",
    )
    assert "QDQ pairs" not in plain.cause
    assert "--static" not in plain.hint


def test_nothing_quantized_lists_the_reasons_by_number() -> None:
    outcome = Outcome()
    node = model_of(LOOSE).graph[0]
    for _ in range(3):
        outcome.skip(node, "first")
    outcome.skip(node, "second")
    assert nothing(Path("m.onnx"), outcome, "static").cause == "3 x Exp: first\n1 x Exp: second"


def test_signs_of_an_earlier_quantization_are_found() -> None:
    assert list(already_quantized(model_of(LOOSE))) == ["QuantizeLinear"]


def test_a_run_too_short_to_judge_is_explained_by_what_was_done() -> None:
    short = SpeedVerdict(None, True, "not judged: a run takes less than 50 µs")
    assert "quantizing the activations" in slow_but_small(short, "dynamic")[0]
    assert "activations stay in float" in slow_but_small(short, "int4")[0]
    assert slow_but_small(SpeedVerdict(None, True, "--no-measure was given"), "int4") == []


@pytest.mark.parametrize(
    ("chosen", "tried"),
    [
        ({}, ["--calib-data FILE", "--block-size 16", "--int8-weights"]),
        ({"asymmetric": False}, ["--calib-data FILE", "--asymmetric", "--block-size 16", "--int8-weights"]),
        ({"calib_data": "x.npz", "block_size": 16}, ["--int8-weights"]),
        ({"mode": "int8-weights"}, ["--asymmetric", "--block-size 16"]),
    ],
)  # fmt: skip
def test_only_what_was_not_chosen_yet_is_told_to_be_finer(
    chosen: dict[str, Any], tried: list[str]
) -> None:
    options = Options(**{"mode": "int4", **chosen})
    error = too_coarse(CheckFailed("m", cause="c", code="outputs-differ"), options)
    assert error.hint == f"nothing was written; try {', or '.join([*tried, '--exclude REGEX'])}"
    assert (error.message, error.cause, error.code) == ("m", "c", "outputs-differ")


def test_what_is_to_be_left_out_and_is_not_there_is_told() -> None:
    model, outcome = model_of(LOOSE), Outcome()
    model.graph[0].name = "block.0.exp"
    outcome.skip(model.graph[0], "excluded by option")
    options = Options(exclude=(r"block\.0", "blok"), exclude_op=("Exp", "Exb"))
    found = unmatched(model, outcome, options)
    assert found == ["--exclude blok matches no node", "--exclude-op Exb: no such node"]


def test_convolutions_are_shown_the_way_that_fits_them() -> None:
    outcome = Outcome()
    text = "(float[n, 3, 8, 8] x) => (float[n, a, b, c] y) <float[4, 3, 3, 3] w> { y = Conv(x, w) }"
    outcome.skip(model_of(text).graph[0], "slow")
    assert "--static" in nothing(Path("m.onnx"), outcome, "dynamic").hint
    assert "--static" not in nothing(Path("m.onnx"), outcome, "static").hint


SWISH = """(float[n] x) => (float[n] y) <float s = {0.1}, uint8 z = {0}>
{ q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) h = HardSwish(d) r = QuantizeLinear(h, s, z)
  y = DequantizeLinear(r, s, z) }"""


def test_activations_that_are_float_on_purpose_are_told_as_such() -> None:
    error = slower(Path("m.onnx"), model_of(SWISH), Outcome(), SLOW, "static")
    assert "1 activations have no integer kernel" in error.cause
    assert "--format qop" in error.hint
    model = model_of(SWISH)
    model.graph[0].op_type = "QLinearAdd"
    assert "--format" not in slower(Path("m.onnx"), model, Outcome(), SLOW, "static").hint
