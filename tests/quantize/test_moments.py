from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from modelkit.errors import CheckFailed
from modelkit.quantize.moments import gather, stages
from tests.quantize.graphs import model_of

TEXT = """(float[n, 32] x) => (float[n, 32] y)
<float[32, 64] a, float[32, 64] b, float[64, 32] c>
{ p = MatMul(x, a) q = MatMul(x, b) r = Mul(p, q) t = Relu(r) y = MatMul(t, c) }"""


def linears(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "MatMul"]


def test_layers_of_one_input_are_looked_at_together_in_the_order_they_run() -> None:
    model = model_of(TEXT)
    found = stages(model.graph, linears(model)[::-1])
    assert [stage.input.name for stage in found] == ["x", "t"]
    assert [stage.exact for stage in found] == ["x", "t"]
    assert [(stage.first, stage.last, stage.total) for stage in found] == [(0, 1, 3), (2, 2, 3)]


def test_the_moments_are_those_of_all_rows_of_all_samples(tmp_path: Path) -> None:
    model = model_of(TEXT)
    found = stages(model.graph, linears(model))
    random = np.random.default_rng(0)
    rows = [random.standard_normal((n, 32)).astype(np.float32) for n in (1, 7, 0)]
    origin = model.clone()
    a, b = (array(model, name) for name in "ab")
    whole = np.concatenate(rows)
    walk = gather(model, origin, found, lambda: iter({"x": r} for r in rows), tmp_path)
    _, x = next(walk)
    np.testing.assert_allclose(x.own, whole.T @ whole, rtol=1e-4, atol=1e-4)
    assert x.drift is None
    weight = model.graph.initializers["a"]
    weight.const_value = ir.tensor(a * np.float32(0.9), name="a")
    _, t = next(walk)
    before, now = (np.maximum((whole @ (a * f)) * (whole @ b), 0) for f in (1, 0.9))
    np.testing.assert_allclose(t.own, now.T @ now, rtol=1e-3, atol=1)
    assert t.drift is not None
    np.testing.assert_allclose(t.drift, now.T @ (before - now), rtol=1e-2, atol=1)
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert next(walk, None) is None
    assert not list(tmp_path.rglob("*.npy"))


def array(model: ir.Model, name: str) -> np.ndarray:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


def test_infinity_is_named(tmp_path: Path) -> None:
    model = model_of(TEXT)
    looks = stages(model.graph, linears(model))
    wrong = np.full((1, 32), np.inf, np.float32)
    with pytest.raises(CheckFailed, match="'x' holds NaN or infinity"):
        next(gather(model, model, looks, lambda: iter([{"x": wrong}]), tmp_path))
