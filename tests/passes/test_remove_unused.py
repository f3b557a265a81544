from modelkit.passes.remove_unused import remove_unused
from tests.passes.harness import applied, normal, ops

DEAD = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
g (float[n] x, float[n] unused) => (float[n] y) <float[1] w = {1.0}, float[1] dead = {2.0}> {
  a = Add(x, dead)
  b = Relu(a)
  y = Add(x, w)
}"""
IN_BRANCH = """<ir_version: 8, opset_import: ["": 17]>
g (bool c, float[n] x) => (float[n] y) {
  outer = Abs(x)
  y = If(c) <
    then_branch = t () => (float[n] p) { dead = Exp(outer)
                                         p = Relu(x) },
    else_branch = e () => (float[n] q) { q = Neg(x) }>
}"""


def test_nodes_weights_and_opsets_go_inputs_stay() -> None:
    feeds = {"x": normal(3), "unused": normal(3)}
    model, count = applied(DEAD, remove_unused, trials=(feeds,))
    assert count == 3
    assert ops(model) == {"Add": 1}
    assert list(model.graph.initializers) == ["w"]
    assert [value.name for value in model.graph.inputs] == ["x", "unused"]
    assert "com.microsoft" not in model.opset_imports


def test_what_only_a_dead_inner_node_read_goes_too() -> None:
    model, _ = applied(IN_BRANCH, remove_unused, remove_unused)
    assert "Exp" not in ops(model)
    assert "Abs" not in ops(model)


def test_nothing_to_do_counts_nothing() -> None:
    assert applied(DEAD, remove_unused, remove_unused)[1] == 0


def test_an_unread_node_with_a_body_goes_with_what_the_body_read() -> None:
    text = IN_BRANCH.replace("=> (float[n] y)", "=> (float[n] z)").replace(
        "q = Neg(x) }>", "q = Neg(x) }>\n  z = Sin(x)"
    )
    model, _ = applied(text, remove_unused)
    assert ops(model) == {"Sin": 1}
