"""LSTM computes in eight bits; GRU and RNN are stored in them; each beside the float model."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.model import load, save, validate
from modelkit.quantize import quantize
from modelkit.quantize.emit import Form
from modelkit.quantize.recurrent import Recurrent
from modelkit.quantize.static import Recipe, quantize_static
from modelkit.runtime import metrics
from tests.harness import floats
from tests.models import model_file, run

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def text(kind: str, *, directions: int = 2, twice: bool = False, extra: str = "") -> str:
    way = {1: "forward", 2: "bidirectional"}[directions]
    rows = 24 * GATES[kind]
    body = f'a, h = {kind}<hidden_size=24, direction="{way}"{extra}>(x, w, r, b)'
    if twice:
        body += f' c, k = {kind}<hidden_size=24, direction="{way}">(x, w, r, b)'
        body += " y = Add(a, c)"
    else:
        body += " y = Identity(a)"
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[s, n, 20] x) => (float[s, {directions}, n, 24] y, float[{directions}, n, 24] h)
    <float[{directions}, {rows}, 20] w, float[{directions}, {rows}, 24] r,
     float[{directions}, {2 * rows}] b> {{ {body} }}"""


def calm(path: Path, source: str) -> Path:
    """A model whose weights are so small that its state does not jump."""
    model = onnx.load(model_file(path, source))
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor) * np.float32(0.2)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", GATES)
def test_the_layer_keeps_its_values_at_every_length(
    tmp_path: Path, kind: str, directions: int
) -> None:
    path = calm(tmp_path / "m.onnx", text(kind, directions=directions))
    result, outcome = quantize(load(path))
    validate(result)
    assert (outcome.quantized, outcome.skips) == (1, [])
    out = save(result, tmp_path / "out.onnx")
    operators = Counter(node.op_type for node in onnx.load(out).graph.node)
    assert operators["DynamicQuantizeLSTM" if kind == "LSTM" else kind] == 1
    for shape in ((1, 1, 20), (7, 3, 20), (5, 1, 20)):
        feeds = {"x": floats(*shape)}
        expected, actual = run(path, feeds), run(out, feeds)
        for name, value in expected.items():
            assert value.shape == actual[name].shape
            assert metrics.sqnr(*metrics.energies(value, actual[name])) > 28
    assert out.stat().st_size < 0.5 * path.stat().st_size


def test_one_scale_a_gate_is_closer_than_one_a_direction(tmp_path: Path) -> None:
    path = calm(tmp_path / "m.onnx", text("LSTM"))
    feeds = {"x": floats(9, 4, 20)}
    found = []
    for per_channel in (True, False):
        out = save(
            quantize(load(path), per_channel=per_channel)[0], tmp_path / f"{per_channel}.onnx"
        )
        energies = metrics.energies(run(path, feeds)["y"], run(out, feeds)["y"])
        found.append(metrics.sqnr(*energies))
    assert found[0] > found[1] > 25


def test_only_what_is_multiplied_by_the_state_may_have_one_scale(tmp_path: Path) -> None:
    path = calm(tmp_path / "m.onnx", text("LSTM"))
    found: list[float] = []
    for fine, coarse in ((True, False), (True, True), (False, False)):
        model = load(path)
        recurrent = Recurrent(fine, coarse_states=coarse)
        for node in list(model.graph):
            if node.op_type == "LSTM":
                assert recurrent.replace(node, model.graph) is None
        model.graph.opset_imports["com.microsoft"] = 1
        out = save(model, tmp_path / f"{len(found)}.onnx")
        feeds = {"x": floats(9, 4, 20)}
        found.append(metrics.sqnr(*metrics.energies(run(path, feeds)["y"], run(out, feeds)["y"])))
    assert found[0] > found[1] > found[2]


@pytest.mark.parametrize("kind", GATES)
def test_weights_of_two_layers_are_stored_once(tmp_path: Path, kind: str) -> None:
    path = calm(tmp_path / "m.onnx", text(kind, twice=True))
    result, outcome = quantize(load(path))
    assert outcome.quantized == 2
    out = save(result, tmp_path / "out.onnx")
    eights = [t for t in onnx.load(out).graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert len([t for t in eights if len(t.dims) == 3]) == 2
    feeds = {"x": floats(6, 2, 20)}
    energies = metrics.energies(run(path, feeds)["y"], run(out, feeds)["y"])
    assert metrics.sqnr(*energies) > 28


@pytest.mark.parametrize(("qop", "operator"), [(True, "DynamicQuantizeLSTM"), (False, "LSTM")])
def test_with_calibration_data_too_and_without_foreign_operators_where_asked(
    tmp_path: Path, qop: bool, operator: str
) -> None:
    path = calm(tmp_path / "m.onnx", text("LSTM"))
    samples = [{"x": floats(5, 1, 20, seed=seed)} for seed in range(3)]
    recipe = Recipe(form=Form(qop=qop))
    result, outcome, _ = quantize_static(load(path), lambda: iter(samples), recipe)
    assert outcome.quantized == 1
    out = save(result, tmp_path / "out.onnx")
    assert operator in {node.op_type for node in onnx.load(out).graph.node}
    energies = metrics.energies(run(path, samples[0])["y"], run(out, samples[0])["y"])
    assert metrics.sqnr(*energies) > 28


def test_what_no_kernel_takes_stays_and_says_why(tmp_path: Path) -> None:
    model = onnx.load(calm(tmp_path / "m.onnx", text("LSTM", directions=1)))
    weight = next(t for t in model.graph.initializer if t.name == "w")
    array = onnx.numpy_helper.to_array(weight).copy()
    array[0, 0, 0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(array, "w"))
    onnx.save(model, tmp_path / "nan.onnx")
    _, outcome = quantize(load(tmp_path / "nan.onnx"))
    assert outcome.quantized == 0
    assert "NaN" in outcome.skips[0].reason
