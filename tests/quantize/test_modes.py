from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from modelkit.model import load
from modelkit.quantize import quantize_file
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


LAYERS = {
    "MatMul(x, w)": ("4, 64", ("dynamic", "static")),
    "MatMul(r, v)": ("3, 4, 64", ("dynamic",)),  # --static fits no stacks
    "LSTM<hidden_size=64>(r, i, h)": ("1, 1, 4, 64", ("dynamic", "static")),
}


@pytest.mark.parametrize("lacking", [False, True])
@pytest.mark.parametrize(
    ("layer", "mode"), [(layer, mode) for layer, (_, modes) in LAYERS.items() for mode in modes]
)
def test_weights_keep_seven_bits_where_products_would_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: str, mode: str, lacking: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("modelkit.quantize.options.saturates", lambda: lacking)
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[4, 64] x)'
    weights = "float[64, 64] w, float[3, 64, 64] v, float[1, 256, 64] i, float[1, 256, 64] h"
    shape = "s = Constant<value_ints=[1, 4, 64]>() r = Reshape(x, s)"
    path = model_file(
        tmp_path / "m.onnx",
        f"{head} => (float[{LAYERS[layer][0]}] y) <{weights}> {{ {shape} y = {layer} }}",
    )
    report = quantize_file(
        str(path), str(tmp_path / "q.onnx"), mode=mode, measure=False,
        calib_data=None if mode == "dynamic" else samples(tmp_path),
    )  # fmt: skip
    assert any("7 bits" in note for note in report.notes) == lacking
    kept = [
        numpy_helper.to_array(each)
        for each in onnx.load(tmp_path / "q.onnx").graph.initializer
        if each.name.endswith("_quantized")
    ]
    assert {int(np.abs(array).max()) for array in kept} == {63 if lacking else 127}


def samples(folder: Path) -> str:
    path = folder / "samples"
    path.mkdir()
    for index in range(16):
        values = np.random.default_rng(index).standard_normal((4, 64))
        np.savez(path / f"{index}.npz", x=values.astype(np.float32))
    return str(path)


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
