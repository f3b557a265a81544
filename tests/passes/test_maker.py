from modelkit.passes.maker import Maker
from tests.quantize.graphs import model_of


def test_a_graph_output_keeps_its_name_when_its_node_is_replaced() -> None:
    graph = model_of("(float[n] x) => (float[n] y) { y = Exp(x) }").graph
    node = graph[0]
    maker = Maker(graph, node)
    made = maker.make("Log", [graph.inputs[0]])
    maker.replace(node, made)
    assert [node.op_type for node in graph] == ["Log"]
    assert graph.outputs[0] is made
    assert made.name == "y"


def test_a_node_stands_behind_its_input_when_asked() -> None:
    graph = model_of("(float[n] x) => (float[n] y) { a = Exp(x) b = Log(a) y = Abs(b) }").graph
    maker = Maker(graph, graph[2])
    maker.make("Neg", [graph[0].outputs[0]], first=True)
    maker.make("Sin", [graph.inputs[0]], first=True)
    assert [node.op_type for node in graph] == ["Sin", "Exp", "Neg", "Log", "Abs"]
