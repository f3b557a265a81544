from modelkit.model import clone
from modelkit.passes.set_dims import fix_dims, free_dims
from tests.passes.harness import check, model_of, normal, run

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, s, 4] x) => (float[n, s, 4] y) { y = Relu(x) }"""
FIXED = """<ir_version: 8, opset_import: ["": 17]>
g (float[1, 3, 4] x) => (float[1, 4, 3] y) <int64[3] t = {1, 12, 1}, int64[3] u = {1, 4, 3}> {
  a = Reshape(x, t) b = Neg(a) y = Reshape(b, u) }"""


def test_a_name_becomes_its_length_wherever_it_stands() -> None:
    before = model_of(TEXT)
    model = clone(before)
    assert fix_dims(model, {"n": 2}).count == 2
    assert str(model.graph.inputs[0].shape) == "[2,s,4]"
    assert str(model.graph.outputs[0].shape) == "[2,s,4]"
    check(model, {"x": normal(2, 3, 4)}, before=before)
    assert fix_dims(model, {"n": 2}).count == 0


def test_a_freed_axis_is_copied_through_reshapes() -> None:
    before = model_of(FIXED)
    model = clone(before)
    assert free_dims(model, {("x", 0): "batch"}).count == 3
    assert str(model.graph.outputs[0].shape) == "[batch,4,3]"
    check(model, {"x": normal(1, 3, 4)}, before=before)
    assert run(model, {"x": normal(5, 3, 4)})[0].shape == (5, 4, 3)
