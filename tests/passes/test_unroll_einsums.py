from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from modelkit.model import load, save, validate
from modelkit.optimize.levels import optimize
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.unroll_einsums import unroll_einsums
from modelkit.quantize import quantize
from modelkit.runtime import metrics
from tests.harness import floats
from tests.models import model_file, run

CASES = {
    "bsd,de->bse": ((2, 5, 16), (16, 24)),
    "bsd,ed->bse": ((2, 5, 16), (24, 16)),
    "de,bsd->bse": ((16, 24), (2, 5, 16)),
    "bsd,dhk->bshk": ((2, 5, 16), (16, 4, 6)),
    "bsd,dhk->bhsk": ((2, 5, 16), (16, 4, 6)),
    "bshk,hkd->bsd": ((2, 5, 4, 6), (4, 6, 16)),
    "bhsk,hkd->bsd": ((2, 4, 5, 6), (4, 6, 16)),
    "dbs,de->bse": ((16, 2, 5), (16, 24)),
    "...d,de->...e": ((2, 5, 16), (16, 24)),
    " bd , de -> be ": ((3, 16), (16, 24)),
}
REFUSED = {
    "bsd,bsd->bs": ((2, 5, 16), (2, 5, 16)),
    "ij,ij->i": ((5, 16), (5, 16)),
    "ij,jk->i": ((5, 16), (16, 24)),
}


def model(tmp_path: Path, equation: str, shapes: tuple[tuple[int, ...], ...]) -> Path:
    first = 0 if equation.strip().startswith("de,") else 1  # which operand is constant
    x, w = shapes[1 - first], shapes[first]
    names = ("w", "x") if first == 0 else ("x", "w")
    rank = len(equation.split("->")[-1].strip().replace("...", "ab"))
    out = ",".join(f"o{i}" for i in range(rank))
    dims = ",".join("bsmnp"[i] if size in (2, 3, 5) else str(size) for i, size in enumerate(x))
    text = f"""<ir_version: 8, opset_import: ["": 17]> g (float[{dims}] x) => (float[{out}] y)
    <float[{",".join(map(str, w))}] w> {{ y = Einsum<equation="{equation}">({", ".join(names)}) }}"""
    return model_file(tmp_path / "m.onnx", text)


@pytest.mark.parametrize("equation", CASES)
def test_a_linear_layer_is_a_product_of_equal_values(tmp_path: Path, equation: str) -> None:
    shapes = CASES[equation]
    path = model(tmp_path, equation, shapes)
    loaded = load(path)
    assert unroll_einsums(loaded).count == 1
    validate(loaded)
    kinds = Counter(node.op_type for node in loaded.graph)
    assert (kinds["MatMul"], kinds["Einsum"]) == (1, 0)
    x = floats(*shapes[1 if equation.startswith("de,") else 0])
    out = save(loaded, tmp_path / "plain.onnx")
    expected, actual = run(path, {"x": x})["y"], run(out, {"x": x})["y"]
    assert expected.shape == actual.shape
    assert np.abs(expected - actual).max() < 1e-4
    result, outcome = quantize(load(path))
    assert (outcome.quantized, outcome.skips) == (1, [])
    eight = run(save(result, tmp_path / "eight.onnx"), {"x": x})["y"]
    assert metrics.sqnr(*metrics.energies(expected, eight)) > 28


@pytest.mark.parametrize("equation", REFUSED)
def test_what_is_no_linear_layer_stays(tmp_path: Path, equation: str) -> None:
    path = model(tmp_path, equation, REFUSED[equation])
    loaded = load(path)
    assert unroll_einsums(loaded).count == 0
    _, outcome = quantize(loaded)
    assert (outcome.candidates, outcome.quantized) == (1, 0)


PRODUCTS = {
    "bhld,bhsd->bhls": ((2, 3, 5, 4), (2, 3, 7, 4), ["Transpose", "MatMul"]),
    "bhls,bhsd->bhld": ((2, 3, 5, 7), (2, 3, 7, 4), ["MatMul"]),
    "blhd,bshd->bhls": ((2, 5, 3, 4), (2, 7, 3, 4), ["Transpose", "Transpose", "MatMul"]),
    "bhls,bshd->blhd": ((2, 3, 5, 7), (2, 7, 3, 4), ["Transpose", "MatMul", "Transpose"]),
    "...qhd,...khd->...hqk": ((2, 5, 3, 4), (2, 7, 3, 4), ["Transpose", "Transpose", "MatMul"]),
    "...ij,...jk": ((2, 5, 3, 4), (2, 5, 4, 7), None),
    "lbhd,sbhd->bhls": ((5, 2, 3, 4), (7, 2, 3, 4), ["Transpose", "Transpose", "MatMul"]),
    "ij, jk -> ki": ((3, 4), (4, 5), ["MatMul", "Transpose"]),
    "ij,jk": ((3, 4), (4, 5), ["MatMul"]),
    "bij,ajk->abik": ((2, 3, 4), (5, 4, 6), None),
    "bhwc,hkc->bhwk": ((2, 3, 5, 4), (3, 6, 4), None),
    "bij,bij->b": ((2, 3, 4), (2, 3, 4), None),
    "bi,bj->bij": ((2, 3), (2, 4), None),
    "bii,bij->bj": ((2, 3, 3), (2, 3, 4), None),
    "bij,bjk->bi": ((2, 3, 4), (2, 4, 5), None),
    "bij,bjk->bik": ((2, 3, 1), (2, 4, 5), None),
}


def _product(equation: str, shapes: tuple[tuple[int, ...], ...], open_axis: bool) -> str:
    dims = [",".join(map(str, shape)) for shape in shapes]
    letters = equation.replace(" ", "").split("->")[0].split(",")
    for place, term in enumerate(letters):
        if open_axis and term.startswith("b"):
            dims[place] = "batch" + dims[place][1:]
    rank = len(_expected(equation, shapes).shape)
    out = ",".join(f"o{i}" for i in range(rank))
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[{dims[0]}] x, float[{dims[1]}] z) => (float[{out}] y)
    {{ e = Einsum<equation="{equation}">(x, z) y = Neg(e) }}"""


def _expected(equation: str, shapes: tuple[tuple[int, ...], ...]) -> np.ndarray:
    values = [floats(*shape, seed=number) for number, shape in enumerate(shapes)]
    return np.asarray(np.einsum(equation, *values))


@pytest.mark.parametrize("open_axis", [False, True], ids=["fixed", "open"])
@pytest.mark.parametrize("equation", PRODUCTS)
def test_a_product_of_activations(tmp_path: Path, equation: str, open_axis: bool) -> None:
    first, second, kinds = PRODUCTS[equation]
    shapes = (first, second)
    path = model_file(tmp_path / "m.onnx", _product(equation, shapes, open_axis))
    loaded = load(path)
    infer_symbols(loaded)
    count = unroll_einsums(loaded).count
    if equation == "...ij,...jk":  # without a result only numpy knows what dots mean
        kinds = None
    assert count == (kinds is not None)
    found = [node.op_type for node in loaded.graph]
    assert found == [*(kinds or ["Einsum"]), "Neg"]
    feeds = {"x": floats(*first), "z": floats(*second, seed=1)}
    result = run(save(loaded, tmp_path / "n.onnx"), feeds)["y"]
    expected = -_expected(equation, shapes)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < 1e-5


def test_axes_that_only_move_are_transposed(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 2, 3] x) => (float[a, b, c] y)
    { e = Einsum<equation="abc->cab">(x) y = Neg(e) }"""
    path = model_file(tmp_path / "m.onnx", text)
    loaded = load(path)
    assert unroll_einsums(loaded).count == 1
    assert [node.op_type for node in loaded.graph] == ["Transpose", "Neg"]
    x = {"x": floats(4, 2, 3)}
    out = run(save(loaded, tmp_path / "n.onnx"), x)["y"]
    np.testing.assert_array_equal(out, run(path, x)["y"])


@pytest.mark.parametrize("equation", ["abc->ac", "aab->ab"])
def test_sums_and_diagonals_stay(tmp_path: Path, equation: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 17]> g (float[3, 3, 3] x) => (float[a, b] y)
    {{ y = Einsum<equation="{equation}">(x) }}"""
    assert unroll_einsums(load(model_file(tmp_path / "m.onnx", text))).count == 0


def test_attention_written_with_einsums_is_found(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[b, s, 3, 8] q, float[b, t, 3, 8] k, float[b, t, 3, 8] v) => (float[b, s, 3, 8] y)
    <float scale = {0.35355338}> {
      p = Einsum<equation="bqhd,bkhd->bhqk">(q, k) m = Mul(p, scale) w = Softmax<axis=-1>(m)
      y = Einsum<equation="bhqk,bkhd->bqhd">(w, v) }"""
    found = optimize(load(model_file(tmp_path / "m.onnx", text)), level="extended")
    assert "Attention" in [node.op_type for node in found.model.graph]
    assert {change.name: change.count for change in found.changes}["unroll_einsums"] == 2
