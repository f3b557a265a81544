from pathlib import Path

import numpy as np

from modelkit.model import load, operator_counts, save
from modelkit.optimize import optimize
from modelkit.quantize.prepare import prepared
from tests.harness import floats
from tests.models import model_file, run

TEXT = """<ir_version: 10, opset_import: ["": 20]>
g (float[n, s, 384] x) => (float[n, s, 384] y)
<float[384, 384] w1, float[384] b1, float[384, 384] w2, float[384] b2, float[384] g, float[384] h>
{ p = MatMul(x, w1) q = Add(p, b1) r = Add(q, x) l = LayerNormalization(r, g, h)
  t = MatMul(l, w2) u = Add(t, b2) v = Add(u, l) y = LayerNormalization(v, g, h) }"""


def test_residuals_of_an_optimized_encoder_are_rows_again(tmp_path: Path) -> None:
    before = model_file(tmp_path / "m.onnx", TEXT)
    written = optimize(load(before)).model
    assert operator_counts(written)["Conv"] == 2
    back = prepared(written, 13)
    counts = operator_counts(back)
    assert counts["MatMul"] == counts["LayerNormalization"] == 2
    assert not {"Conv", "Squeeze", "Unsqueeze", "Transpose"} & set(counts)
    after = save(back, tmp_path / "back.onnx")
    for n, s in ((1, 1), (2, 5), (0, 3)):
        values = {"x": floats(n, s, 384)}
        expected, actual = run(before, values)["y"], run(after, values)["y"]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
