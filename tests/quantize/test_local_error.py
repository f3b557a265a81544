import numpy as np
import pytest

from modelkit.model import const_of
from modelkit.quantize.emit import Form
from modelkit.quantize.local_error import correct_biases, local_errors
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.plan import make_plan
from modelkit.quantize.ranges import Range
from tests.harness import floats
from tests.quantize.graphs import model_of

TEXTS = {
    "bias": "<float[16, 8] w, float[8] b> { p = MatMul(x, w) y = Add(p, b) }",
    "no bias": "<float[16, 8] w> { y = MatMul(x, w) }",
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_mean_error_of_a_clipped_range_goes_into_the_bias(name: str) -> None:
    model = model_of(f"(float[n, 16] x) => (float[n, 8] y) {TEXTS[name]}")
    model.graph[0].name = "layer"
    plan = make_plan(model, Outcome())
    samples = [{"x": np.abs(floats(50, 16, seed=seed)) + 1} for seed in range(4)]
    # All values above 1 are cut to 1: what is lost is about the same for each sample.
    ranges = {"x": Range(0, 1)}
    errors = local_errors(model, plan, ranges, Form(), lambda: iter(samples))
    assert errors["layer"].sqnr < 15
    weight = const_of(model.graph.initializers["w"])
    assert weight is not None
    lost = np.concatenate([s["x"] for s in samples]).mean(axis=0) - 1
    np.testing.assert_allclose(errors["layer"].mean, lost @ weight, atol=0.05)
    assert correct_biases(model.graph, plan, errors) == 1
    assert [node.op_type for node in model.graph] == ["MatMul", "Add"]
    assert model.graph.outputs[0].name == "y"
    vector = const_of(model.graph[1].inputs[1])
    old = const_of(model.graph.initializers["b"]) if name == "bias" else 0
    assert vector is not None
    np.testing.assert_allclose(vector - old, errors["layer"].mean, rtol=1e-3, atol=1e-5)


def test_a_layer_that_loses_more_has_fewer_decibels() -> None:
    model = model_of(
        "(float[n, 16] x) => (float[n, 8] y) <float[16, 8] w, float[16, 8] v>"
        "{ a = MatMul(x, w) s = Exp(x) b = MatMul(s, v) y = Add(a, b) }"
    )
    plan = make_plan(model, Outcome())
    for layer, label in zip(plan.layers, ("even", "wide"), strict=True):
        layer.node.name = label
    samples = [{"x": floats(20, 16, seed=seed) * 2} for seed in range(3)]
    ranges = {"x": Range(-8, 8), "s": Range(0, 2000)}
    errors = local_errors(model, plan, ranges, Form(), lambda: iter(samples))
    assert errors["wide"].sqnr < errors["even"].sqnr - 5
