from modelkit.passes.share_initializers import share_initializers
from tests.passes.harness import applied, normal

WEIGHTS = """<ir_version: 8, opset_import: ["": 17]>
g (float[2] x) => (float[2] y)
<float[2] a = {1.0, 2.0}, float[2] b = {1.0, 2.0}, float[2] c = {1.0, 3.0}, float[2] o = {0.0, 0.0},
 float[2] p = {-0.0, 0.0}> {
  d = Add(x, a)
  e = Add(d, b)
  f = Add(e, c)
  h = Add(f, o)
  y = Div(h, p)
}"""


def test_equal_bytes_are_kept_once_and_signed_zeros_apart() -> None:
    model, count = applied(WEIGHTS, share_initializers, trials=({"x": normal(2)},))
    assert count == 1
    assert sorted(model.graph.initializers) == ["a", "c", "o", "p"]


def test_a_default_of_an_input_is_no_constant() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[2] x, float[2] a = {1.0, 2.0}) => (float[2] y) <float[2] b = {1.0, 2.0}> {
      c = Add(x, a)
      y = Add(c, b)
    }"""
    assert applied(text, share_initializers)[1] == 0
