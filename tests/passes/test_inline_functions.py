from modelkit.model import clone
from modelkit.passes.inline_functions import inline_functions
from tests.passes.harness import applied, check, model_of, normal, ops

TWICE = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
g (float[n] x) => (float[n] y) {
  a = own.scale<by = 2.0>(x)
  y = own.scale<by = 3.0>(a)
}
<domain: "own", opset_import: ["": 17]>
scale <by>(v) => (w) {
  f = Constant<value_float: float = @by>()
  w = Mul(v, f)
}"""


def test_calls_become_their_bodies_with_names_of_their_own() -> None:
    model, count = applied(TWICE, inline_functions, trials=({"x": normal(5)},))
    assert count == 2
    assert ops(model) == {"Constant": 2, "Mul": 2}
    assert not model.functions


def test_a_function_of_another_opset_stays_and_says_why() -> None:
    model = model_of(
        TWICE.replace(
            '<domain: "own", opset_import: ["": 17]>', '<domain: "own", opset_import: ["": 16]>'
        )
    )
    before = clone(model)
    done = inline_functions(model)
    assert done.count == 0
    assert done.notes == ("functions stay: 'scale' is written for another opset of 'ai.onnx'",)
    check(model, {"x": normal(5)}, before=before)


def test_bodies_inlined_twice_do_not_share_inner_names() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
    g (bool c, float[n] x) => (float[n] y) {
      a = own.choose(c, x)
      y = own.choose(c, a)
    }
    <domain: "own", opset_import: ["": 17]>
    choose (c, v) => (w) {
      w = If(c) <
        then_branch = t () => (p) { p = Relu(v) },
        else_branch = e () => (q) { q = Neg(v) }>
    }"""
    model = model_of(text)
    assert inline_functions(model).count == 2
    names = [v.name for node in model.graph.all_nodes() for v in node.outputs]
    assert len(names) == len(set(names)) == 6
