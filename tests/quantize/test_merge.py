from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from modelkit.model import save
from modelkit.passes.remove_unused import remove_unused
from modelkit.quantize.merge import is_decoder, merge_linears
from tests.models import run
from tests.quantize.graphs import model_of

THREE = """(float[n, 32] x) => (float[n, 16] y)
<float[32, 16] a, float[32, 16] b, float[16] c, float[32, 16] d, float[16, 16] e>
{ p = MatMul(x, a) q = MatMul(x, b) r = Add(c, q) s = MatMul(x, d)
  t = Mul(p, r) u = Add(t, s) v = MatMul(u, e) y = Relu(v) }"""


def count(model: ir.Model, op: str) -> int:
    return sum(node.op_type == op for node in model.graph)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_products_of_one_activation_become_one(tmp_path: Path, rows: int) -> None:
    model = model_of(THREE)
    before = save(model, tmp_path / "before.onnx")
    assert merge_linears(model).count == 1
    remove_unused(model)
    assert (count(model, "MatMul"), count(model, "Split")) == (2, 1)
    assert "a" not in model.graph.initializers
    x = np.random.default_rng(rows).standard_normal((rows, 32)).astype(np.float32)
    expected = run(before, {"x": x})["y"]
    actual = run(save(model, tmp_path / "after.onnx", force=True), {"x": x})["y"]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    assert merge_linears(model).count == 0


def test_what_may_not_be_merged_stays() -> None:
    model = model_of(THREE)
    assert merge_linears(model, lambda node: node.outputs[0].name != "p").count == 0
    assert merge_linears(model_of(THREE, opset=11)).count == 0
    told = """(float[n, 32] x) => (float[n, 16] p, float[n, 16] q) <float[32, 16] a, float[32, 16] b>
    { p = MatMul(x, a) q = MatMul(x, b) }"""
    assert merge_linears(model_of(told)).count == 0
    shared = """(float[n, 32] x) => (float[n, 16] y) <float[32, 16] a>
    { p = MatMul(x, a) q = MatMul(x, a) y = Mul(p, q) }"""
    assert merge_linears(model_of(shared)).count == 0


def test_a_decoder_is_known_by_its_cache() -> None:
    assert not is_decoder(model_of(THREE))
    text = """(float[b, n, 32] q, float[b, 4, p, 8] k, float[b, 4, p, 8] v)
    => (float[b, n, 32] y, float[b, 4, t, 8] s, float[b, 4, t, 8] u)
    { y, s, u = Attention<q_num_heads=4, kv_num_heads=4>(q, q, q, , k, v) }"""
    assert is_decoder(model_of(text, opset=23))
