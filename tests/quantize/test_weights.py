from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.model import load
from modelkit.quantize import quantize
from modelkit.quantize.weights import symmetric
from tests.harness import floats


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_error_is_at_most_half_a_step(axis: int | None) -> None:
    weight = floats(16, 24) * np.linspace(0.01, 10, 24, dtype=np.float32)
    values, scale = symmetric(weight, axis)
    assert values.dtype == np.int8
    assert np.abs(values).max() == 127
    assert (np.abs(values * scale - weight) <= scale * 0.5001).all()
    assert scale.shape == {None: (1, 1), 0: (16, 1), 1: (1, 24)}[axis]


def test_a_channel_of_zeros_has_scale_one() -> None:
    values, scale = symmetric(np.zeros((3, 2), np.float32), 1)
    assert not values.any()
    np.testing.assert_array_equal(scale, [[1, 1]])


def test_nothing_is_nothing() -> None:
    assert symmetric(np.zeros((0, 2), np.float32), 1)[0].shape == (0, 2)


SMALL = """<ir_version: 9, opset_import: ["": 18]> g (float[n, 32] x) => (float[n, 2] y)
<float[32, 16] w, float[16, 2] v> { h = MatMul(x, w) y = Gemm(h, v) }"""


def test_layers_too_small_are_told_as_staying(tmp_path: Path) -> None:
    text = SMALL.replace("<float[32, 16] w, float[16, 2] v>", "").replace(
        "x) =>", "x, float[32, 16] w, float[16, 2] v) =>"
    )
    proto = onnx.parser.parse_model(text)
    for name, shape in (("w", (32, 16)), ("v", (16, 2))):
        array = np.ones(shape, np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        proto.graph.input.remove(next(v for v in proto.graph.input if v.name == name))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    outcome = quantize(load(path))[1]
    assert (outcome.candidates, outcome.quantized) == (2, 1)
    assert [skip.reason for skip in outcome.skips] == [
        "its weights are fewer than 64: there is nothing to gain"
    ]
