from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.model import add_constant, add_lazy, const_of, fresh_name, load, save
from tests.models import linear_text, model_file

TEXT = """<ir_version: 10, opset_import: ["": 20]> g (float[2] x, float[2] d) => (float[2] y)
<float[2] w = {1, 2}, float[2] d = {0, 0}>
{ k = Constant<value_float=3.0>() a = Add(x, w) b = Add(a, d) y = Mul(b, k) }"""


def test_initializers_and_constants_are_known_defaults_of_inputs_are_not(tmp_path: Path) -> None:
    graph = load(model_file(tmp_path / "m.onnx", TEXT)).graph
    values = {value.name: value for node in graph for value in node.outputs}
    assert const_of(graph.initializers["w"]) is not None
    assert const_of(values["k"]) == np.float32(3)
    assert const_of(graph.initializers["d"]) is None
    assert const_of(values["a"]) is None
    assert const_of(None) is None


def test_new_names_are_new(tmp_path: Path) -> None:
    graph = load(model_file(tmp_path / "m.onnx", TEXT)).graph
    assert [fresh_name(graph, "a") for _ in range(3)] == ["a_1", "a_2", "a_3"]
    assert add_constant(graph, "w", np.zeros(())).name == "w_1"


def test_a_new_scalar_stays_a_scalar(tmp_path: Path) -> None:
    graph = load(model_file(tmp_path / "m.onnx", TEXT)).graph
    value = add_constant(graph, "s", np.array(1.5, np.float32))
    assert value.shape is not None
    assert len(value.shape) == 0
    assert const_of(value) is not None


def test_a_lazy_constant_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    model = load(model_file(tmp_path / "m.onnx", linear_text(4, 6)))
    calls = []

    def make() -> np.ndarray:
        calls.append(1)
        return np.arange(2000, dtype=np.float32).reshape(50, 40).T

    value = add_lazy(model.graph, "lazy", make, ir.DataType.FLOAT, (40, 50))
    model.graph.append(ir.node("Identity", [value], name="copy"))
    assert not calls
    again = load(save(model, tmp_path / "n.onnx"))
    assert len(calls) == 1
    np.testing.assert_array_equal(const_of(again.graph.initializers["lazy"]), make())
