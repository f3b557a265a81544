import onnx_ir as ir

from modelkit.passes.lift_constants import lift_constants
from tests.passes.harness import applied, normal, ops

SPELLINGS = """<ir_version: 8, opset_import: ["": 17]>
g (float[2, 2] x) => (float[2, 2] y, int64[1] z) {
  a = Constant<value = float[2] {1.0, 2.0}>()
  b = Constant<value_float = 3.0>()
  c = Constant<value_floats = [1.0, 2.0]>()
  z = Constant<value_ints = [7]>()
  d = Add(x, a)
  e = Mul(d, b)
  y = Sub(e, c)
}"""
IN_BRANCH = """<ir_version: 8, opset_import: ["": 17]>
g (bool c, float[n] x) => (float[n] y) {
  y = If(c) <
    then_branch = t () => (float[n] p) { k = Constant<value_float = 2.0>()
                                         p = Mul(x, k) },
    else_branch = e () => (float[n] q) { k = Constant<value_float = 3.0>()
                                         q = Mul(x, k) }>
}"""


def test_every_spelling_becomes_a_weight_but_an_output_stays() -> None:
    model, count = applied(SPELLINGS, lift_constants, trials=({"x": normal(2, 2)},))
    assert count == 3
    assert ops(model)["Constant"] == 1
    scalar = model.graph.initializers["b_value"].const_value
    assert scalar is not None
    assert (scalar.dtype, tuple(scalar.shape)) == (ir.DataType.FLOAT, ())


def test_constants_of_branches_with_one_name_stay_apart() -> None:
    model, count = applied(IN_BRANCH, lift_constants)
    assert count == 2
    assert sorted(model.graph.initializers) == ["k_value", "k_value_1"]
