from pathlib import Path

import numpy as np
import pytest

from modelkit.model import operator_counts, save
from modelkit.quantize import island_swish
from modelkit.rewrite import apply, read_fusion
from tests.harness import floats
from tests.models import run
from tests.quantize.graphs import model_of

IMAGE = "(float[n, 4, h, w] x) => (float[n, 4, h, w] y) <float[4, 4, 1, 1] c, float a = {1.702}, float[4, 1, 1] v>"


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("p = Conv(x, c) s = Sigmoid(p) y = Mul(p, s)", 1),
        ("p = Conv(x, c) s = Sigmoid(p) y = Mul(s, p)", 1),
        ("p = Conv(x, c) q = Mul(p, a) s = Sigmoid(q) y = Mul(p, s)", 1),
        ("p = Conv(x, c) q = Mul(p, v) s = Sigmoid(q) y = Mul(p, s)", 0),
        ("p = Conv(x, c) s = Sigmoid(p) y = Mul(x, s)", 0),
    ],
)
def test_a_swish_behind_a_convolution_becomes_one_operator(
    body: str, count: int, tmp_path: Path
) -> None:
    model = model_of(f"{IMAGE} {{ {body} }}")
    before = save(model, tmp_path / "before.onnx")
    apply([read_fusion(island_swish)], model, allow=lambda fusion: None)
    assert operator_counts(model).get("com.microsoft.QuickGelu", 0) == count
    feeds = {"x": floats(2, 4, 5, 6)}
    expected, actual = run(before, feeds), run(save(model, tmp_path / "after.onnx"), feeds)
    np.testing.assert_allclose(actual["y"], expected["y"], atol=1e-6)
