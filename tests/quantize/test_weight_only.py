import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from modelkit.model import load, save
from modelkit.quantize.blocks import Blocks
from modelkit.quantize.weight_only import WeightOnly
from modelkit.runtime import metrics
from tests.models import Feeds, model_file, run
from tests.quantize.graphs import model_of
from tests.quantize.lab_patterns import MERGED

MLP = """(float[n, 64] x) => (float[n, 40] y)
<float[64, 96] a, float[96] b, float[96, 96] c, float[40, 96] d, float[40] e>
{ p = MatMul(x, a) q = Add(p, b) r = Relu(q) s = MatMul(r, c) t = LeakyRelu(s)
  y = Gemm<transB=1>(t, d, e) }"""


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def decibels(before: ir.Model, after: ir.Model, folder: Path, feeds: Feeds) -> float:
    expected = run(save(before, folder / "a.onnx", force=True), feeds)
    actual = run(save(after, folder / "b.onnx", force=True), feeds)
    energies = [metrics.energies(value, actual[name]) for name, value in expected.items()]
    return min(metrics.sqnr(*pair) for pair in energies)


def bits(model: ir.Model) -> list[int]:
    return [n.attributes.get_int("bits", 0) or 0 for n in model.graph if n.op_type == "MatMulNBits"]


@pytest.mark.parametrize(("width", "least", "sizes"), [(4, 14, [4, 4, 8]), (8, 36, [8, 8, 8])])
def test_layers_take_few_bits_and_the_head_eight(
    tmp_path: Path, width: int, least: float, sizes: list[int]
) -> None:
    model = model_of(MLP)
    job = WeightOnly(Blocks(width, 32))
    result = job.run(model)
    assert bits(result) == sizes
    assert (job.outcome.quantized, job.outcome.candidates) == (3, 3)
    assert job.heads == (1 if width == 4 else 0)
    assert decibels(model, result, tmp_path, {"x": floats(9, 64)}) > least
    assert len(job.noise) == 3
    assert not Counter(node.op_type for node in result.graph)["MatMul"]


def test_samples_lead_the_rounding(tmp_path: Path) -> None:
    model = model_of(MLP)
    mix = floats(10, 64, seed=5)
    data = [{"x": floats(40, 10, seed=seed) @ mix} for seed in range(9)]
    plain = WeightOnly(Blocks(4, 32)).run(model)
    job = WeightOnly(Blocks(4, 32), samples=lambda: iter(data[:8]))
    led = job.run(model)
    assert job.guided == 2
    better = decibels(model, led, tmp_path, data[8])
    assert better > decibels(model, plain, tmp_path, data[8]) + 2
    assert len(job.noise) == 3


def test_what_stays_is_told_with_the_reason(tmp_path: Path) -> None:
    model = model_of(
        """(float[n, 3, 16, 16] x, float[n, 64] z) => (float[n, 8, 14, 14] c, float[n, 64] y)
        <float[8, 3, 3, 3] k, float[64, 64] a, float[64, 64] b, float[64, 64] d>
        { c = Conv(x, k) p = MatMul(z, a) q = MatMul(p, b) r = MatMul(q, d) y = Add(r, z) }"""
    )
    for node in model.graph:
        node.name = f"layer_{node.outputs[0].name}"
    weight = model.graph.initializers["d"]
    assert weight.const_value is not None
    broken = weight.const_value.numpy().copy()
    broken[3, 4] = np.nan
    weight.const_value = ir.tensor(broken, name="d")
    from re import compile as pattern

    job = WeightOnly(Blocks(4, 32), exclude=[pattern("layer_p")])
    result = job.run(model)
    reasons = {skip.op + skip.node: skip.reason for skip in job.outcome.skips}
    assert "excluded by option" in reasons["MatMullayer_p"]
    assert "NaN" in reasons["MatMullayer_r"]
    assert "matrices" in reasons["Convlayer_c"]
    assert (job.outcome.quantized, job.outcome.candidates) == (1, 4)
    feeds = {"x": floats(1, 3, 16, 16), "z": floats(2, 64)}
    assert run(save(result, tmp_path / "m.onnx"), feeds)["c"].shape == (1, 8, 14, 14)


def test_layers_in_bodies_take_the_nearest_levels(tmp_path: Path) -> None:
    model = model_of(
        """(float[n, 64] x, bool c) => (float[n, 64] y) <float[64, 64] w, float[64, 64] v>
        { h = MatMul(x, v) k = Relu(h)
          y = If(c) <then_branch = t () => (float[n, 64] p) { p = MatMul(k, w) },
        else_branch = e () => (float[n, 64] q) { q = MatMul(k, v) }> }"""
    )
    data = [{"x": floats(8, 64), "c": np.array(True)}]
    job = WeightOnly(Blocks(4, 32), samples=lambda: iter(data))
    result = job.run(model)
    assert (job.outcome.quantized, job.guided) == (3, 1)
    for flag in (True, False):
        feeds = {"x": floats(3, 64, seed=3), "c": np.array(flag)}
        assert decibels(model, result, tmp_path, feeds) > 14


@pytest.mark.parametrize("kind", ["float16", "double"])
def test_other_floats_are_widened_around_the_layer(tmp_path: Path, kind: str) -> None:
    text = f"({kind}[n, 64] x) => ({kind}[n, 48] y) {{ "
    text += f"w = Cast<to={10 if kind == 'float16' else 11}>(f) y = MatMul(x, w) }}"
    model = model_of(text.replace("{ w", "<float[64, 48] f> { w", 1))
    result = WeightOnly(Blocks(8, 32)).run(model)
    assert bits(result) == [8]
    x = floats(5, 64).astype(np.float16 if kind == "float16" else np.float64)
    assert decibels(model, result, tmp_path, {"x": x}) > 36


def test_a_deep_model_is_written_layer_by_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"w{at}" for at in range(16)]
    body = " ".join(
        f"{'y' if at == 15 else f'x{at + 1}'} = MatMul({'x' if at == 0 else f'x{at}'}, {w})"
        for at, w in enumerate(names)
    )
    text = f"""<ir_version: 8, opset_import: ["": 17]> g (float[n, 512] x) => (float[n, 512] y)
    <{", ".join(f"float[512, 512] {w}" for w in names)}> {{ {body} }}"""
    model = load(model_file(tmp_path / "m.onnx", text))
    monkeypatch.setattr("modelkit.quantize.blocks._AT_ONCE", 1 << 16)
    monkeypatch.setattr("modelkit.quantize.weight_only._AT_ONCE", 1 << 16)
    tracemalloc.start()
    job = WeightOnly(Blocks(4, 32))
    save(job.run(model), tmp_path / "q.onnx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert job.outcome.quantized == 16
    assert peak < 0.25 * 16 * 4 * 512**2


def test_branches_share_weights_and_each_has_a_head(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", MERGED)
    model = load(path)
    samples = [{"i": np.arange(9), "c": np.array(True)}]
    job = WeightOnly(Blocks(4, 32), samples=lambda: iter(samples))
    result = job.run(model)
    assert (job.outcome.quantized, job.heads, job.tables) == (6, 2, 2)
    assert len(job.outcome.unseen) == 4
    out = save(result, tmp_path / "out.onnx")
    assert out.stat().st_size < 0.32 * path.stat().st_size
    for flag in (True, False):
        feeds = {"i": np.array([5, 250, 7]), "c": np.array(flag)}
        expected, actual = run(path, feeds)["y"], run(out, feeds)["y"]
        assert metrics.sqnr(*metrics.energies(expected, actual)) > 15


def test_a_layer_in_a_loop_is_no_head(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, 64] y)
    <float[64, 64] w, int64 n_times = {3}, bool go = {1}> {
    y = Loop (n_times, go, x) <body = b (int64 i, bool ci, float[n, 64] hi)
        => (bool co, float[n, 64] ho)
        { k = Tanh(hi) l = MatMul(k, w) m = Tanh(l) ho = MatMul(m, w) co = Identity(ci) }> }"""
    job = WeightOnly(Blocks(4, 32))
    job.run(load(model_file(tmp_path / "m.onnx", text)))
    assert (job.outcome.quantized, job.heads) == (2, 0)
