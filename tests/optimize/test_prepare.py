from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import CheckFailed, UsageError
from modelkit.model import load
from modelkit.optimize import optimize_file
from modelkit.optimize.prepare import Shaping, prepare
from tests.models import model_file, run
from tests.passes.harness import normal

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 4] x, float[batch, 4] z) => (float[batch, 2] y)
<float[4, 6] w, float[6, 2] v> { h = MatMul(x, w) r = Relu(h) o = MatMul(r, v) s = Add(x, z)
 t = MatMul(s, w) u = MatMul(t, v) y = Add(o, u) }"""
ONE = """<ir_version: 8, opset_import: ["": 17]>
g (float[1, 4, 6] x) => (float[1, 24] y) <int64[2] s = {1, -1}> { r = Relu(x) y = Reshape(r, s) }"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return model_file(tmp_path / "m.onnx", TEXT)


def test_nothing_asked_is_nothing_done(source: Path) -> None:
    assert not Shaping({})
    assert prepare(source, Shaping({}), source.parent) == (source, ())


def test_a_part_is_cut_out_and_computes_what_it_did(source: Path, tmp_path: Path) -> None:
    report = optimize_file(str(source), measure=False, extract="h..o")
    model = load(Path(report.written))
    assert [value.name for value in model.graph.inputs] == ["h"]
    assert [value.name for value in model.graph.outputs] == ["o"]
    assert report.notes[-1] == "extracted h..o"
    assert report.verification.passed
    h = normal(3, 6)
    v = load(source).graph.initializers["v"].const_value
    assert v is not None
    result = run(Path(report.written), {"h": h})["o"]
    np.testing.assert_allclose(result, np.maximum(h, 0) @ v.numpy(), rtol=1e-5)


def test_inputs_the_part_still_needs_stay(source: Path, tmp_path: Path) -> None:
    place, (note,) = prepare(source, Shaping({}, extract="o..y"), tmp_path)
    assert [value.name for value in load(place).graph.inputs] == ["o", "x", "z"]
    assert note == "extracted o..y, also fed by x, z"
    place, _ = prepare(source, Shaping({}, extract="..r"), tmp_path)
    assert [value.name for value in load(place).graph.inputs] == ["x"]


def test_axes_are_fixed(source: Path) -> None:
    report = optimize_file(str(source), measure=False, dims={"batch": 3})
    model = load(Path(report.written))
    assert [list(value.shape or ()) for value in model.graph.inputs] == [[3, 4], [3, 4]]
    assert list(model.graph.outputs[0].shape or ()) == [3, 2]
    assert "fixed batch=3" in report.notes


def test_axes_are_freed_and_reshapes_follow(tmp_path: Path) -> None:
    source = model_file(tmp_path / "one.onnx", ONE)
    report = optimize_file(str(source), measure=False, free_dims=["x:0=batch"])
    x = normal(5, 4, 6)
    result = run(Path(report.written), {"x": x})["y"]
    np.testing.assert_array_equal(result, np.maximum(x, 0).reshape(5, 24))
    assert "twice the length gives both results" in report.notes[-1]


@pytest.mark.parametrize(
    "body", ["r = Relu(x) y = Reshape(r, s)", "m = ReduceMean<axes = [0]>(x) y = Add(x, m)"]
)
def test_an_axis_that_is_built_in_or_mixed_stays(tmp_path: Path, body: str) -> None:
    text = ONE.replace("r = Relu(x) y = Reshape(r, s)", body).replace("[1, 24]", "[i, j, k]")
    text = text.replace("int64[2] s = {1, -1}", "int64[3] s = {4, 1, 6}")
    source = model_file(tmp_path / "one.onnx", text)
    with pytest.raises(CheckFailed):
        optimize_file(str(source), measure=False, free_dims=["x:0=batch"])
    assert [path.name for path in tmp_path.iterdir()] == ["one.onnx"]


@pytest.mark.parametrize(
    ("shaping", "words"),
    [
        (Shaping({"bach": 1}), "did you mean 'batch'"),
        (Shaping({}, free=("x:0",)), "--free-dim x:0=batch"),
        (Shaping({}, free=("x:7=n",)), ""),
        (Shaping({}, free=("k:0=n",)), "one of: x, z"),
        (Shaping({}, extract="h"), "a..b"),
        (Shaping({}, extract="h..oo"), "did you mean 'o'"),
    ],
)
def test_what_is_not_there_is_a_usage_error(
    source: Path, tmp_path: Path, shaping: Shaping, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        prepare(source, shaping, tmp_path)
    assert words in caught.value.hint
