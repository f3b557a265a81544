from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from modelkit.model import load, save, validate
from modelkit.quantize import quantize
from modelkit.quantize.einsums import unroll_einsums
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
    "bsd,bde->bse": ((2, 5, 16), (2, 16, 24)),
    "ij,ij->i": ((5, 16), (5, 16)),
    "ij,jk->i": ((5, 16), (16, 24)),
    "bsd,de": ((2, 5, 16), (16, 24)),
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
