from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from modelkit.model import save
from modelkit.quantize.biases import spare_biases
from modelkit.quantize.heads import heads_of
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.plan import make_plan
from modelkit.quantize.smooth import smooth
from tests.harness import floats
from tests.models import run
from tests.quantize.graphs import model_of

PLAIN = "Attention<q_num_heads=4, kv_num_heads=4>(x, x, x)"
FOREIGN = ("com.microsoft", "elsewhere")
OTHER = "com.microsoft.MultiHeadAttention<num_heads=4>(x, x, x)"


@pytest.mark.parametrize(
    ("made", "heads"),
    [
        (PLAIN, (4, 4)),
        (PLAIN.replace("kv_num_heads=4", "kv_num_heads=2"), (4, 2)),
        (PLAIN.replace("(x, x, x)", "(x, x, x, m)"), (4, 4)),
        (OTHER, (4, 4)),
        (OTHER.replace("(x, x, x)", "(x, x, x, , , m)"), (4, 4)),
        (OTHER.replace("(x, x, x)", "(x, x, x, b)"), None),
        (PLAIN.replace("kv_num_heads=4", "kv_num_heads=4, softcap=2.0"), None),
        (PLAIN.replace("(x, x, x)", "(x, x, x, m, p, p)"), None),
        ("Attention(x, x, x)", None),
        (OTHER.replace("com.microsoft", "elsewhere"), None),
        ("Relu(x)", None),
    ],
)
def test_plain_attention_is_known_by_its_heads(made: str, heads: tuple[int, int] | None) -> None:
    inputs = "float[n, 5, 16] x, float[5, 5] m, float[48] b, float[n, 4, 7, 4] p"
    model = model_of(f"({inputs}) => (float[n, 5, 16] y) {{ y = {made} }}", 23, domains=FOREIGN)
    assert heads_of(model.graph[0]) == heads


def test_no_node_has_no_heads() -> None:
    assert heads_of(None) is None


@pytest.mark.parametrize("made", [PLAIN, OTHER])
def test_smoothing_and_biases_see_through_both(made: str, tmp_path: Path) -> None:
    made = made.replace("(x, x, x)", "(x, k1, v1)")
    text = f"""(float[n, 5, 16] x) => (float[n, 5, 8] y)
    <float[16, 16] k, float[16] bk, float[16, 16] v, float[16] bv, float[16, 8] o> {{
    k0 = MatMul(x, k) k1 = Add(k0, bk) v0 = MatMul(x, v) v1 = Add(v0, bv)
    a = {made} y = MatMul(a, o) }}"""
    model = model_of(text, 23, domains=FOREIGN)
    for name in ("v", "bv"):
        tensor = model.graph.initializers[name].const_value
        assert tensor is not None
        tensor.numpy()[..., 3] *= 100
    _know_shape(model, "a")
    del model.graph.opset_imports["elsewhere"]
    before = save(model, tmp_path / "before.onnx")
    assert spare_biases(model.graph) == 1
    samples = [{"x": floats(2, 5, 16, seed=seed)} for seed in range(8)]
    done = smooth(model, make_plan(model, Outcome()), lambda: iter(samples))
    assert [each.folded for each in done if each.tensor == "a"] == [True]
    after = save(model, tmp_path / "after.onnx")
    expected, actual = run(before, samples[0])["y"], run(after, samples[0])["y"]
    np.testing.assert_allclose(actual, expected, atol=2e-5 * np.abs(expected).max(), rtol=0)


def _know_shape(model: ir.Model, name: str) -> None:
    """As optimize leaves it in the file: ONNX's own inference does not know foreign operators."""
    value = next(o for node in model.graph for o in node.outputs if o.name == name)
    value.shape, value.type = ir.Shape(["n", 5, 16]), ir.TensorType(ir.DataType.FLOAT)
