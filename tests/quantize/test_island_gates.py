from pathlib import Path

import numpy as np
import pytest

from modelkit.model import load, operator_counts, save
from modelkit.optimize import optimize
from modelkit.passes.remove_unused import remove_unused
from modelkit.quantize import island_gates
from modelkit.rewrite import apply, read_fusion
from tests.harness import floats
from tests.models import model_file, run
from tests.quantize.graphs import model_of

NEAREST = (
    '<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">'
)


def counted(text: str, folder: Path, shape: tuple[int, ...]) -> int:
    made = model_of(text)
    before = save(made, folder / "before.onnx")
    apply([read_fusion(island_gates)], made, allow=lambda fusion: None)
    feeds = {"x": floats(*shape)}
    expected, actual = run(before, feeds), run(save(made, folder / "after.onnx"), feeds)
    np.testing.assert_array_equal(actual["y"], expected["y"])
    return operator_counts(made).get("Resize", 0)


@pytest.mark.parametrize(
    ("size", "gate", "kind", "left"),
    [
        ("6, 8", "GlobalAveragePool(x)", NEAREST, 0),
        ("6, 8", "MaxPool<kernel_shape = [6, 8]>(x)", NEAREST, 0),
        ("3, 8", "MaxPool<kernel_shape = [2, 8], strides = [2, 1]>(x)", NEAREST, 1),
        ("6, 8", "GlobalAveragePool(x)", '<mode = "linear">', 1),
    ],
)
def test_a_gate_that_was_written_out_is_one_number_a_channel_again(
    size: str, gate: str, kind: str, left: int, tmp_path: Path
) -> None:
    scales = size.replace("3, 8", "2, 8")
    text = f"""(float[n, 4, 6, 8] x) => (float[n, 4, 6, 8] y)
    <float[4] s = {{1, 1, {scales}}}> {{ g = {gate} r = Resize{kind}(g, , s) y = Mul(x, r) }}"""
    assert counted(text, tmp_path, (2, 4, 6, 8)) == left


def test_a_map_of_one_number_stays_as_large_as_its_gate(tmp_path: Path) -> None:
    text = f"""(float[n, 4, 1, 1] x) => (float[n, 4, 6, 8] y)
    <float[4] s = {{1, 1, 6, 8}}> {{ g = Sigmoid(x) r = Resize{NEAREST}(g, , s) y = Mul(x, r) }}"""
    assert counted(text, tmp_path, (2, 4, 1, 1)) == 1


CONVOLVED = "s = Conv(r, c, d) t = Sigmoid(s)"
LINEAR = "f = Flatten(r) l = MatMul(f, m) s = Sin(l) e = Constant<value_ints=[0, 16, 1, 1]>() t = Reshape(s, e)"


@pytest.mark.parametrize("product", ["Mul", "Add"])
@pytest.mark.parametrize("gate", [CONVOLVED, LINEAR])
def test_what_optimize_wrote_is_taken_back(gate: str, product: str, tmp_path: Path) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 17]> g
    (float[n, 16, 8, 8] u) => (float[n, 16, 8, 8] y)
    <float[16, 16, 1, 1] w, float[4, 16, 1, 1] a, float[4] b, float[16, 4, 1, 1] c, float[16] d,
     float[4, 16] m> {{
    x = Conv(u, w) p = GlobalAveragePool(x) q = Conv(p, a, b) r = Relu(q) {gate}
    z = {product}(x, t) y = Conv(z, w) }}"""
    model = optimize(load(model_file(tmp_path / "m.onnx", text)), level="all").model
    assert operator_counts(model)["Resize"] == 1
    before = operator_counts(model)["Conv"]
    apply([read_fusion(island_gates)], model, allow=lambda fusion: None)
    remove_unused(model)
    assert "Resize" not in operator_counts(model)
    assert operator_counts(model)["Conv"] == before - (gate == LINEAR)
