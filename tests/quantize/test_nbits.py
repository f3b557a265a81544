from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from modelkit.model import const_of, save
from modelkit.quantize.blocks import Blocks, Rounded, nearest
from modelkit.quantize.linears import normalize_linears
from modelkit.quantize.nbits import DOMAIN, Nbits, to_nbits
from tests.models import Feeds, run
from tests.quantize.graphs import model_of


def layers(model: ir.Model) -> list[tuple[ir.Node, ir.Graph]]:
    found = []
    for graph in [model.graph, *model.graph.subgraphs()]:
        found += [(node, graph) for node in list(graph) if node.op_type == "MatMul"]
    return found


def values(model: ir.Model, folder: Path, feeds: Feeds) -> Feeds:
    return run(save(model, folder / "m.onnx", force=True), feeds)


def rounded(model: ir.Model, blocks: Blocks) -> ir.Model:
    """The same model whose weights are, in float, what their levels stand for."""
    copy = model.clone()
    for node, _ in layers(copy):
        value = node.inputs[1]
        array = const_of(value)
        if value is None or array is None:
            continue
        wide = nearest(array, blocks).values(blocks, len(array))
        value.const_value = ir.tensor(wide, name=value.name)
    return copy


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_kernel_computes_what_the_levels_stand_for(
    tmp_path: Path, bits: int, size: int, symmetric: bool
) -> None:
    blocks = Blocks(bits, size, symmetric, accuracy_level=0)
    text = """(float[n, 333] x) => (float[n, 40] y)
    <float[333, 40] w, float[40] b> { m = MatMul(x, w) y = Add(b, m) }"""
    model = model_of(text)
    expected = rounded(model, blocks)
    [(node, graph)] = layers(model)
    assert to_nbits(node, graph, blocks) is None
    assert [each.op_type for each in model.graph] == ["MatMulNBits"]
    for rows in (0, 1, 3, 17):
        x = np.random.default_rng(rows).standard_normal((rows, 333)).astype(np.float32)
        actual = values(model, tmp_path, {"x": x})["y"]
        np.testing.assert_allclose(actual, values(expected, tmp_path, {"x": x})["y"], atol=2e-4)


@pytest.mark.parametrize(
    "text",
    [
        "(float[n, 64] x) => (float[n, 48] y) <float[48, 64] w, float[48] b>"
        "{ y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b) }",
        "(float[a, n, 64] x) => (float[a, n, 48] y) <float[48, 64] w>"
        "{ t = Transpose<perm=[1, 0]>(w) y = MatMul(x, t) }",
        "(float[64, n] x) => (float[48, n] y) <float[48, 64] w> { y = MatMul(w, x) }",
        "(float[n, 64] x) => (float[n, 64] y) <float[64, 64] w>"
        "{ a = MatMul(x, w) b = Relu(a) y = MatMul(b, w) }",
        "(float[n, 64] x, bool c) => (float[n, 48] y) <float[64, 48] w, float[64, 48] v>"
        "{ y = If(c) <then_branch = t () => (float[n, 48] p) { p = MatMul(x, w) },"
        " else_branch = e () => (float[n, 48] q) { q = MatMul(x, v) }> }",
    ],
)
def test_every_form_of_a_layer(tmp_path: Path, text: str) -> None:
    from modelkit.quantize.prepare import prepared

    model = prepared(model_of(text), 13)
    normalize_linears(model)
    blocks = Blocks(8, 32)
    expected = rounded(model, blocks)
    model.graph.opset_imports[DOMAIN] = 1
    for node, graph in layers(model):
        assert to_nbits(node, graph, blocks) is None
    assert not layers(model)
    random = np.random.default_rng(1)
    for rows in (1, 5):
        feeds = {}
        for port in model.graph.inputs:
            assert port.shape is not None
            if port.dtype == ir.DataType.BOOL:
                feeds[port.name or ""] = np.array(rows == 1)
                continue
            dims = [dim if isinstance(dim, int) else rows for dim in port.shape]
            feeds[port.name or ""] = random.standard_normal(dims).astype(np.float32)
        actual = values(model, tmp_path, feeds)["y"]
        reference = values(expected, tmp_path, feeds)["y"]
        assert actual.shape == reference.shape
        assert np.abs(actual - reference).max() < 0.02 * np.abs(reference).max()


def test_a_weight_read_twice_is_kept_once(tmp_path: Path) -> None:
    text = """(float[n, 64] x) => (float[n, 64] y)
    <float[64, 64] w> { a = MatMul(x, w) y = MatMul(a, w) }"""
    model = model_of(text)
    nbits = Nbits()
    for node, graph in layers(model):
        assert nbits.replace(node, graph, Blocks()) is None
    first, second = model.graph
    assert list(first.inputs)[1:] == list(second.inputs)[1:]
    x = np.ones((2, 64), np.float32)
    assert np.isfinite(values(model, tmp_path, {"x": x})["y"]).all()


def test_lazy_levels_are_computed_when_written_once_a_layer(tmp_path: Path) -> None:
    text = """(float[n, 256] x) => (float[n, 256] y) <float[256, 256] w, float[256, 256] v>
    { a = MatMul(x, w) y = MatMul(a, v) }"""
    eager, lazy = model_of(text), model_of(text)
    seen: list[str] = []

    def see(name: str, weight: np.ndarray, found: Rounded, blocks: Blocks) -> None:
        assert weight.shape == (256, 256)
        seen.append(name)

    nbits = Nbits(seen=see)
    for node, graph in layers(lazy):
        assert nbits.replace(node, graph, Blocks(4, 32, symmetric=False), lazy=True) is None
    for node, graph in layers(eager):
        assert to_nbits(node, graph, Blocks(4, 32, symmetric=False)) is None
    assert not seen
    x = np.ones((2, 256), np.float32)
    actual = values(lazy, tmp_path, {"x": x})["y"]
    assert len(seen) == 2
    np.testing.assert_array_equal(actual, values(eager, tmp_path, {"x": x})["y"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(float[3, n, 8] x) => (float[3, n, 8] y) <float[3, 8, 8] w> { y = MatMul(x, w) }", "stack"),
        ("(float[n, 4] x) => (float[n, 40] y) <float[4, 40] w> { y = MatMul(x, w) }", "more room"),
        ("(float[64, n] x) => (float[8, n] y) <float[8, 64] w> { y = MatMul(w, x) }", "second operand"),
        ("(double[n, 64] x, double[64, 64] w) => (double[n, 64] y) { y = MatMul(x, w) }", "second"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_why(text: str, words: str) -> None:
    model = model_of(text)
    [(node, graph)] = layers(model)
    assert words in (to_nbits(node, graph, Blocks(4, 128)) or "")
    assert [each.op_type for each in model.graph] == ["MatMul"]
