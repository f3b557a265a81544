from pathlib import Path

import numpy as np
import pytest

from modelkit.model import load, operator_counts, save
from modelkit.optimize import optimize
from modelkit.quantize.prepare import prepared
from tests.harness import floats
from tests.models import model_file, run


def mlp(gate: str) -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]> g (float[n, s, 256] x) => (float[n, s, 256] y)
    <float[256, 512] w1, float[512] b1, float[256, 512] w2, float[512, 256] w3, float[256] b3>
    {{ p = MatMul(x, w1) u = Add(p, b1) q = MatMul(x, w2) {gate}
      r = MatMul(h, w3) y = Add(r, b3) }}"""


@pytest.mark.parametrize(
    "gate",
    [
        "h = Gelu(u)",
        "g1 = Sigmoid(u) g2 = Mul(u, g1) h = Mul(g2, q)",
        "g1 = Relu(u) h = Add(g1, q)",
    ],
)
@pytest.mark.parametrize("image", [False, True])
def test_what_optimize_wrote_as_images_is_linear_again(
    gate: str, image: bool, tmp_path: Path
) -> None:
    text = mlp(gate)
    shape: tuple[int, ...] = (2, 5, 256)
    if image:
        text, shape = text.replace("n, s, 256]", "n, 3, s, 256]"), (2, 3, 5, 256)
    before = model_file(tmp_path / "m.onnx", text)
    written = optimize(load(before)).model
    assert operator_counts(written)["Conv"] >= 2
    back = prepared(written, 13)
    counts = operator_counts(back)
    assert "Conv" not in counts
    assert "Transpose" not in counts
    assert "Unsqueeze" not in counts
    expected = run(before, {"x": floats(*shape)})["y"]
    actual = run(save(back, tmp_path / "back.onnx"), {"x": floats(*shape)})["y"]
    np.testing.assert_allclose(actual, expected, atol=1e-5 * float(np.abs(expected).max()))
