import numpy as np
import onnx_ir as ir

from modelkit.passes import surgery
from tests.passes.harness import model_of

TWO = """<ir_version: 8, opset_import: ["": 17]>
g (float[n] x) => (float[n] y, float[n] z) {
  a = Relu(x)
  y = Identity(a)
  z = Identity(a)
}"""
BODY = """<ir_version: 8, opset_import: ["": 17]>
g (bool c, float[n] x) => (float[n] y) {
  y = If(c) <
    then_branch = t () => (float[n] p) { p = Relu(x) },
    else_branch = e () => (float[n] q) { q = Neg(x) }>
}"""
RANDOM = """<ir_version: 8, opset_import: ["": 17]>
g (bool c, float[n] x) => (float[n] y) {
  y = If(c) <
    then_branch = t () => (float[n] p) { p = RandomNormalLike(x) },
    else_branch = e () => (float[n] q) { q = Neg(x) }>
}"""


def test_an_output_takes_over_the_name_once_only() -> None:
    model = model_of(TWO)
    a, y, z = list(model.graph)
    assert surgery.bypass(y, a.outputs[0])
    assert not surgery.bypass(z, a.outputs[0])
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
    assert a.outputs[0].name == "y"


def test_an_input_never_becomes_an_output() -> None:
    model = model_of(TWO)
    assert not surgery.replace(model.graph.outputs[0], model.graph.inputs[0])


def test_randomness_inside_a_branch_counts() -> None:
    assert surgery.is_random(model_of(RANDOM).graph[0])
    assert not surgery.is_random(model_of(BODY).graph[0])


def test_a_constant_of_rank_zero_keeps_its_rank() -> None:
    model = model_of(TWO)
    value = surgery.constant(model, model.graph, "c", np.array(3))
    assert value is not None
    assert value.const_value is not None
    assert value.const_value.numpy().shape == ()


def test_shapes_with_unknown_dims_are_never_equal() -> None:
    a = ir.Value(name="a", shape=ir.Shape([None, 2]))
    b = ir.Value(name="b", shape=ir.Shape([None, 2]))
    named = ir.Value(name="c", shape=ir.Shape(["n", 2]))
    assert not surgery.same_shape(a, b)
    assert surgery.same_shape(named, named)
