import numpy as np
import pytest

from modelkit.model import const_of, save
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.plan import make_plan
from modelkit.quantize.smooth import Channels, channels_of, choose, smooth
from tests.harness import floats
from tests.models import run
from tests.quantize.graphs import model_of

LAYERS = "(float[n, 4, 16] x) => (float[n, 4, 8] y) <float[16] a, float[16] b, float[16, 16] v, float[16] u, float[16, 8] w>"
PLAIN = "y = MatMul(h, w)"


def outliers(count: int = 8) -> list[dict[str, np.ndarray]]:
    made = [{"x": floats(2, 4, 16, seed=seed)} for seed in range(count)]
    for feeds in made:
        feeds["x"][..., 5] *= 100
    return made


@pytest.mark.parametrize(
    ("body", "folded"),
    [
        (f"h = LayerNormalization(x, a, b) {PLAIN}", [True]),
        (f"h = LayerNormalization(x, a) {PLAIN}", [True]),
        (f"k = MatMul(x, v) h = Add(k, u) {PLAIN}", [False, True]),
        (f"h = Mul(x, a) {PLAIN}", [True]),
        (f"h = Relu(x) {PLAIN}", [False]),
        ("h = LayerNormalization(x, a, b) z = MatMul(h, w) e = Exp(h) r = ReduceMax(e) y = Add(z, r)", [False]),
    ],
)  # fmt: skip
def test_the_values_stay_and_the_division_costs_nothing_where_it_can(
    body: str, folded: list[bool], tmp_path: object
) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    model = model_of(f"{LAYERS} {{ {body} }}")
    weight = model.graph.initializers.get("a")
    if weight is not None and weight.const_value is not None:
        weight.const_value.numpy()[5] *= 30
    if "v" in model.graph.initializers:
        tensor = model.graph.initializers["v"].const_value
        assert tensor is not None
        tensor.numpy()[:, 3] *= 100
    before = save(model, folder / "before.onnx")
    samples = outliers()
    done = smooth(model, make_plan(model, Outcome()), lambda: iter(samples))
    after = save(model, folder / "after.onnx")
    assert [each.folded for each in done] == folded
    assert all(each.gain > 1.1 for each in done)
    for feeds in samples[:2]:
        expected, actual = run(before, feeds)["y"], run(after, feeds)["y"]
        np.testing.assert_allclose(actual, expected, atol=2e-5 * np.abs(expected).max(), rtol=0)
    muls = [node for node in model.graph if node.op_type == "Mul"]
    assert len(muls) == body.count("Mul(x") - body.count("MatMul(x") + folded.count(False)


def test_even_channels_are_left_alone() -> None:
    model = model_of("(float[n, 16] x) => (float[n, 8] y) <float[16, 8] w> { y = MatMul(x, w) }")
    weight = model.graph.initializers["w"].const_value
    assert weight is not None
    weight.numpy()[:] = np.sign(weight.numpy())
    samples = [{"x": np.sin(floats(64, 16, seed=seed))} for seed in range(4)]
    assert smooth(model, make_plan(model, Outcome()), lambda: iter(samples)) == []
    assert [node.op_type for node in model.graph] == ["MatMul"]


def test_a_weight_shared_with_an_unsmoothed_layer_keeps_its_values() -> None:
    text = """(float[n, 16] x) => (float[n, 16] y) <float[16, 16] w>
    { a = MatMul(x, w) t = Tanh(a) y = MatMul(t, w) }"""
    model = model_of(text)
    before = const_of(model.graph.initializers["w"])
    assert before is not None
    kept = before.copy()
    samples = [{"x": feeds["x"][:, 0]} for feeds in outliers()]
    done = smooth(model, make_plan(model, Outcome()), lambda: iter(samples))
    assert [each.tensor for each in done][:1] == ["x"]
    np.testing.assert_array_equal(const_of(model.graph.initializers["w"]), kept)


def test_rows_are_chosen_from_all_samples_and_peaks_from_all_rows() -> None:
    model = model_of("(float[n, 2] x) => (float[n, 2] y) { y = Abs(x) }")
    samples = [{"x": np.full((10, 2), n, np.float32)} for n in range(-20, 1)]
    found = channels_of(model, ["x"], lambda: iter(samples), count=50)["x"]
    assert found.rows.shape == (50, 2)
    assert len(set(found.rows[:, 0].tolist())) > 10
    assert found.peak.tolist() == [20, 20]


@pytest.mark.parametrize(
    ("body", "smoothed"), [("h = LayerNormalization(x, a, b)", True), ("h = Relu(x)", False)]
)
def test_a_small_gain_is_taken_where_it_costs_nothing_but_is_no_reason_for_a_mul(
    body: str, *, smoothed: bool
) -> None:
    model = model_of(f"{LAYERS} {{ {body} {PLAIN} }}")
    scale = model.graph.initializers["a"].const_value
    assert scale is not None
    scale.numpy()[:] = 1
    scale.numpy()[5] = 3
    samples = [{"x": floats(2, 4, 16, seed=seed)} for seed in range(8)]
    if not smoothed:
        for feeds in samples:
            feeds["x"][..., 5] *= 3
    plan = make_plan(model, Outcome())
    seen = channels_of(model, ["h"], lambda: iter(samples))["h"]
    found = choose(seen, plan.layers, 127)
    assert found is not None
    assert 1.12 < found[1] < 2
    assert [each.folded for each in smooth(model, plan, lambda: iter(samples))] == [True] * smoothed


def test_a_channel_that_no_sample_lit_is_not_magnified() -> None:
    model = model_of(f"{LAYERS} {{ h = LayerNormalization(x, a, b) {PLAIN} }}")
    layers = make_plan(model, Outcome()).layers
    rows = np.abs(floats(500, 16)) * np.where(np.arange(16) == 5, 100, 1).astype(np.float32)
    rows[:, :4] = 0.0
    chosen = choose(Channels(rows.max(axis=0), rows, np.zeros(500)), layers, 127)
    assert chosen is not None
    factors = chosen[2]
    # Lit elsewhere, such a channel comes out no larger than twice what the others reach.
    assert (
        rows[:, 4:].max() / factors[5] * 2 >= np.median(rows.max(axis=0)[4:]) / factors[:4]
    ).all()
    assert factors[5] > 5 * factors[:4].max()
