import onnx_ir as ir

from modelkit.model.walk import bodies, graphs, inside, nested, nodes
from tests.passes.harness import model_of

DEEP = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
g (bool c, float[n] x) => (float[n] y) {
  z = own.twice(x)
  y = If(c) <
    then_branch = t () => (float[n] p) { p = If(c) <
      then_branch = tt () => (float[n] pp) { pp = Relu(z) },
      else_branch = te () => (float[n] pe) { pe = Abs(z) }> },
    else_branch = e () => (float[n] q) { q = Neg(z) }>
}
<domain: "own", opset_import: ["": 17]>
twice (a) => (b) { b = Add(a, a) }"""


def test_every_graph_is_met_once_the_outer_ones_first() -> None:
    model = model_of(DEEP)
    assert [graph.name for graph in graphs(model)][:3] == ["g", "e", "t"]
    assert sorted(str(graph.name) for graph in nested(model.graph)) == ["e", "g", "t", "te", "tt"]
    assert len(list(graphs(model))) == 6


def test_every_node_is_met_once_with_those_of_bodies_and_functions() -> None:
    model = model_of(DEEP)
    found = [node.op_type for node in nodes(model)]
    assert found == ["twice", "If", "If", "Relu", "Abs", "Neg", "Add"]
    assert [node.op_type for node in inside(model.graph)] == found[:-1]


def test_operators_of_other_domains_may_carry_graphs() -> None:
    inner = ir.Graph([], [], nodes=[ir.node("Relu", [ir.Value(name="v")])], name="inner")
    carrier = ir.node("Run", [], domain="own", attributes={"body": inner, "more": [inner]})
    assert [graph.name for graph in bodies(carrier)] == ["inner", "inner"]
    assert [node.op_type for node in inside([carrier])] == ["Run", "Relu", "Relu"]
