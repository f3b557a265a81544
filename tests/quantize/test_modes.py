from pathlib import Path

import numpy as np
import pytest

from modelkit.model import load
from modelkit.quantize.modes import MODES
from modelkit.quantize.options import Options
from tests.models import linear_text, model_file

TWO = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, 32] y)
<float[64, 64] a, float[64, 32] b>
{ [first] p = MatMul(x, a) r = Relu(p) [last] y = MatMul(r, b) }"""


@pytest.mark.parametrize("mode", MODES)
def test_each_kind_leaves_its_source_and_says_what_it_did(tmp_path: Path, mode: str) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(64, 128))
    random = np.random.default_rng(0)
    np.savez(tmp_path / "s.npz", x=random.standard_normal((32, 64)).astype(np.float32))
    options = Options(mode=mode, calib_data=str(tmp_path / "s.npz"))
    model = load(path)
    made = MODES[mode](model, path, options, 0)
    assert (made.outcome.quantized, made.outcome.candidates) == (1, 1)
    assert [node.op_type for node in model.graph] == ["MatMul", "Add"]
    assert any("Quantize" in node.op_type or "NBits" in node.op_type for node in made.model.graph)


def test_static_tells_the_error_of_each_layer(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(64, 128))
    made = MODES["static"](load(path), path, Options(mode="static", random_data=True), 0)
    assert len(made.layers) == 1
    assert 30 < made.layers[0].sqnr < 60
    assert any("calibrated on 64 samples" in note for note in made.notes)


def test_four_bits_are_led_by_data_and_told(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", TWO)
    random = np.random.default_rng(0)
    mix = random.standard_normal((9, 64))
    np.savez(tmp_path / "s.npz", x=(random.standard_normal((300, 9)) @ mix).astype(np.float32))
    made = MODES["int4"](
        load(path), path, Options(mode="int4", calib_data=str(tmp_path / "s.npz")), 0
    )
    assert (made.step, made.gated) == ("int4", False)
    assert "blocks of 32, asymmetric" in made.notes
    assert "1 layers rounded by what they compute on 284 samples" in made.notes
    assert "in 8 bits: 1 of the last layers" in made.notes
    assert {each.node for each in made.noise()} == {"first", "last"}
    assert made.noise()[0].sqnr > 15
