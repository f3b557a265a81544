from pathlib import Path

import numpy as np
import pytest

from modelkit.model import load, save
from modelkit.quantize.emit import Form, emit, parameters
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.plan import make_plan
from modelkit.quantize.ranges import Range
from modelkit.quantize.static import Recipe, calibrate, compress
from modelkit.runtime import metrics
from tests.harness import floats
from tests.models import model_file, run
from tests.quantize.graphs import model_of


@pytest.mark.parametrize("reach", [Range(-1, 3), Range(0, 6), Range(-2, 0), Range(0, 0)])
def test_zero_has_a_code_of_its_own_and_the_ends_are_reached(reach: Range) -> None:
    scale, zero = parameters(reach, unsigned=True)
    assert 0 <= zero <= 255
    assert (0 - zero) * scale <= reach.low + scale
    assert (255 - zero) * scale >= reach.high - scale
    scale, zero = parameters(reach, unsigned=False)
    assert zero == 0
    assert 127 * scale >= max(reach.high, -reach.low) * 0.999


def test_an_activation_of_two_layers_is_quantized_once() -> None:
    text = """(float[n, 8] x) => (float[n, 8] y) <float[8, 8] w, float[8, 8] v>
    { a = MatMul(x, w) b = MatMul(x, v) y = Add(a, b) }"""
    for form, operator in ((Form(qop=True), "MatMulIntegerToFloat"), (Form(), "MatMul")):
        model = model_of(text)
        emit(model.graph, make_plan(model, Outcome()), {"x": Range(-1, 1)}, form)
        kinds = [node.op_type for node in model.graph]
        assert kinds.count("QuantizeLinear") == 1
        assert kinds.count(operator) == 2


def test_seven_bits_leave_room_for_a_sum_of_two_products() -> None:
    model = model_of("(float[n, 8] x) => (float[n, 8] y) <float[8, 8] w> { y = MatMul(x, w) }")
    plan = make_plan(model, Outcome())
    emit(model.graph, plan, {"x": Range(-1, 1)}, Form(qop=True, largest=63))
    packed = [
        value.const_value.numpy()
        for value in model.graph.initializers.values()
        if value.const_value is not None and value.const_value.numpy().shape == (8, 8)
    ]
    whole = next(array for array in packed if array.dtype == np.int8)
    assert np.abs(whole).max() == 63


@pytest.mark.parametrize("qop", [True, False])
def test_layers_right_behind_each_other_are_found_by_their_ranges(
    tmp_path: Path, qop: bool
) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, 32] y)
    <float[64, 48] w, float[48] b, float[48, 32] v> { p = MatMul(x, w) a = Add(p, b) y = MatMul(a, v) }"""
    path = model_file(tmp_path / "m.onnx", text)
    samples = [{"x": floats(8, 64, seed=seed)} for seed in range(4)]
    recipe = Recipe(form=Form(qop=qop))
    calibrated = calibrate(load(path), lambda: iter(samples), recipe)
    for keep in (frozenset[str](), frozenset(list(calibrated.errors)[:1])):
        result, _ = compress(calibrated, recipe, keep)
        out = save(result, tmp_path / "out.onnx", force=True)
        energies = metrics.energies(run(path, samples[0])["y"], run(out, samples[0])["y"])
        assert metrics.sqnr(*energies) > 30
