from pathlib import Path

import numpy as np
import pytest

from modelkit.model import Model, load, save, validate
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.remove_unused import remove_unused
from modelkit.passes.trace_dims import trace_dims
from tests.models import model_file, run


def traced(tmp_path: Path, text: str, *feeds: dict[str, np.ndarray]) -> tuple[int, Model]:
    before = model_file(tmp_path / "before.onnx", text)
    model = load(before)
    infer_symbols(model)
    count = trace_dims(model).count
    remove_unused(model)
    infer_symbols(model)
    assert trace_dims(model).count == 0
    validate(model)
    after = save(model, tmp_path / "after.onnx", force=True)
    for values in feeds:
        expected, actual = run(before, values), run(after, values)
        for name, value in expected.items():
            np.testing.assert_array_equal(actual[name], value)
    return count, model


def x(*shape: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}


@pytest.mark.parametrize("opset", [12, 13, 18])
def test_shapes_asked_of_activations_are_asked_of_the_input(tmp_path: Path, opset: int) -> None:
    unsqueeze = "Unsqueeze<axes=[0]>(b)" if opset < 13 else "Unsqueeze(b, zero)"
    text = f"""<ir_version: 8, opset_import: ["": {opset}]>
    g (float[n, m, 6] x) => (float[n, k, l] y)
    {{ zero = Constant<value_ints=[0]>() i = Constant<value_int=0>() two = Constant<value_ints=[2, -1]>()
      a = Relu(x) s = Shape(a) b = Gather<axis=0>(s, i) v = {unsqueeze}
      t = Concat<axis=0>(v, two) r = Abs(a) s2 = Shape(r) b2 = Gather<axis=0>(s2, zero)
      t2 = Concat<axis=0>(b2, two) y1 = Reshape(r, t) y2 = Reshape(a, t2) y = Add(y1, y2) }}"""
    count, model = traced(tmp_path, text, x(1, 1, 6), x(3, 5, 6))
    assert count
    shapes = [node for node in model.graph if node.op_type == "Shape"]
    assert [node.inputs[0].name for node in shapes if node.inputs[0]] == ["x"]
    assert len([node for node in model.graph if node.op_type == "Concat"]) == 1


def test_sums_of_dims_are_made_once(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 18]>
    g (float[n, p] a, float[n, s] b) => (int64[z] y, int64[z] w, float[n, z] c)
    { c = Concat<axis=1>(a, b) i = Constant<value_int=1>() q = Shape(c) t = Gather<axis=0>(q, i)
      zero = Constant<value_int=0>() y = Range(zero, t, i)
      d = Neg(c) q2 = Shape(d) t2 = Gather<axis=0>(q2, i) w = Range(zero, t2, i) }"""
    feeds = {"a": np.ones((2, 3), np.float32), "b": np.ones((2, 4), np.float32)}
    _, model = traced(tmp_path, text, feeds)
    ranges = [node for node in model.graph if node.op_type == "Range"]
    assert ranges[0].inputs[1] is ranges[1].inputs[1]
    asked = [node.inputs[0] for node in model.graph if node.op_type == "Shape"]
    assert {value.name for value in asked if value} == {"a", "b"}


def test_what_inputs_do_not_tell_stays(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[n] x) => (int64[k] y)
    { a = NonZero(x) s = Shape(a) i = Constant<value_ints=[1]>() y0 = Gather<axis=0>(s, i)
      y = Neg(y0) }"""
    count, model = traced(tmp_path, text, x(4))
    assert count == 0
    assert [node.op_type for node in model.graph] == [
        "NonZero",
        "Shape",
        "Constant",
        "Gather",
        "Neg",
    ]


def test_graph_outputs_stay(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[n, m] x) => (int64[2] s)
    { a = Relu(x) s = Shape(a) }"""
    assert traced(tmp_path, text, x(2, 3))[0] == 0


def test_one_shape_that_tells_several_dims_together_stays(tmp_path: Path) -> None:
    # What exporters write for GroupNormalization: three dims would be three operators and a Concat.
    text = """<ir_version: 8, opset_import: ["": 18]>
    g (float[n, 4, h, w] x) => (float[n, 4, k, l] y, float[n, 4, k, l] z)
    { groups = Constant<value_ints=[0, 2, -1]>() a = Relu(x) s = Shape(a) r = Reshape(a, groups)
      t = Softmax<axis=-1>(r) y = Reshape(t, s) b = Abs(y) u = Shape(b) z = Reshape(t, u) }"""
    count, model = traced(tmp_path, text, x(2, 4, 3, 5), x(1, 4, 0, 2))
    assert count == 1  # the second asks the first
    assert [node.op_type for node in model.graph].count("Shape") == 1
    assert "Concat" not in [node.op_type for node in model.graph]
