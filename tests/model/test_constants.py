from pathlib import Path

import numpy as np

from modelkit.model import add_constant, const_of, fresh_name, load
from tests.models import model_file

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
