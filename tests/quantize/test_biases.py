from pathlib import Path

import numpy as np
import pytest

from modelkit.model import save
from modelkit.passes import run_passes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.quantize.biases import spare_biases
from tests.harness import floats
from tests.models import run
from tests.quantize.graphs import model_of

WEIGHTS = """<float[8] g, float[8] s, float[8] f, float[8] bq, float[8] bk, float[8] bv, float[8] bo,
float[8, 8] q, float[8, 8] k, float[8, 8] v, float[8, 8] o, float[8, 8] w, float[8] b>"""
HEADS = "<q_num_heads = 2, kv_num_heads = 2>"
LAYER = f"""
n = LayerNormalization(x, g, s) m = Mul(n, f)
q0 = MatMul(m, q) q1 = Add(q0, bq) k0 = MatMul(m, k) k1 = Add(k0, bk) v0 = MatMul(m, v) v1 = Add(bv, v0)
a = Attention {HEADS} (q1, k1, v1)
o0 = MatMul(a, o) o1 = Add(o0, bo) t = Sum(o1, n)
"""
NORM = "n = LayerNormalization(x, g, s) z = MatMul(x, o) o1 = Add(z, bo) t = Add(o1, n)"


@pytest.mark.parametrize(
    ("body", "spared"),
    [
        (f"{LAYER} y = LayerNormalization(t, g, s)", 2),
        (f"{LAYER} c = MatMul(n, w) d = Add(c, b) y = Add(t, d)", 2),
        (f"{LAYER} c = MatMul(n, w) y = Add(t, c)", 1),  # a reader without a bias to put it in
        (f"{LAYER} c = Exp(n) y = Add(t, c)", 1),  # a reader that is no layer
        (f"{LAYER} y = Add(t, o1)", 1),  # the bias is read twice
        (f"{NORM} y = Relu(t)", 1),
        ("n = LayerNormalization(x, g) z = MatMul(x, o) o1 = Add(z, bo) y = Add(o1, n)", 0),
        ("n = Mul(x, g) z = MatMul(x, o) o1 = Add(z, bo) y = Add(o1, n)", 0),
        ("z = MatMul(x, o) y = Add(z, bo)", 0),
        (f"k0 = MatMul(x, k) k1 = Add(k0, bk) y = Attention {HEADS} (x, k1, x)", 1),
        (f"k0 = MatMul(x, k) k1 = Add(k0, bk) y = Attention {HEADS} (x, k1, k1)", 0),
        (f"k0 = MatMul(x, k) k1 = Add(k0, bk) y = Attention {HEADS} (k1, x, x)", 0),
        ("k0 = MatMul(x, k) k1 = Add(k0, bk) y = Attention"
         "<q_num_heads = 2, kv_num_heads = 2, softcap = 1.0> (x, k1, x)", 0),
    ],
)  # fmt: skip
def test_values_stay_without_the_biases(body: str, spared: int, tmp_path: Path) -> None:
    model = model_of(f"(float[n, 5, 8] x) => (float[n, 5, 8] y) {WEIGHTS} {{ {body} }}", opset=23)
    run_passes(model, (infer_symbols,))
    before = save(model, tmp_path / "before.onnx")
    adds = sum(node.op_type == "Add" for node in model.graph)
    assert spare_biases(model.graph) == spared
    assert sum(node.op_type == "Add" for node in model.graph) == adds - spared
    after = save(model, tmp_path / "after.onnx")
    for count in (1, 3):
        feeds = {"x": floats(count, 5, 8, seed=count)}
        expected, actual = run(before, feeds)["y"], run(after, feeds)["y"]
        np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


def test_a_shared_shift_is_not_changed_for_others(tmp_path: Path) -> None:
    body = f"{NORM} h = LayerNormalization(x, g, s) y = Mul(t, h)"
    model = model_of(f"(float[n, 5, 8] x) => (float[n, 5, 8] y) {WEIGHTS} {{ {body} }}", opset=23)
    before = save(model, tmp_path / "before.onnx")
    assert spare_biases(model.graph) == 1
    after = save(model, tmp_path / "after.onnx")
    feeds = {"x": floats(2, 5, 8)}
    expected, actual = run(before, feeds)["y"], run(after, feeds)["y"]
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


def test_a_normalization_that_makes_an_output_keeps_its_shift() -> None:
    model = model_of(
        f"(float[n, 5, 8] x) => (float[n, 5, 8] t, float[n, 5, 8] n) {WEIGHTS} {{ {NORM} }}",
        opset=23,
    )
    assert spare_biases(model.graph) == 0
