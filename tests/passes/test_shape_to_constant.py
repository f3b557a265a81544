from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.shape_to_constant import shape_to_constant
from tests.passes.harness import applied, normal, ops

STATIC_AXIS = """<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 12, 64] x) => (float[12, m] y, int64[3] s)
<int64[1] one = {1}, int64[1] rest = {-1}> {
  s = Shape(x)
  h = Gather(s, one)
  t = Concat<axis = 0>(h, rest)
  y = Reshape(x, t)
}"""


def test_arithmetic_on_a_static_axis_beside_a_dynamic_one() -> None:
    trials = ({"x": normal(2, 12, 64)}, {"x": normal(5, 12, 64)})
    model, count = applied(STATIC_AXIS, infer_symbols, shape_to_constant, trials=trials)
    assert count == 2
    assert ops(model) == {"Shape": 1, "Reshape": 1}


def test_a_dynamic_axis_stays_computed() -> None:
    text = STATIC_AXIS.replace("12", "heads")
    assert applied(text, infer_symbols, shape_to_constant)[1] == 0
