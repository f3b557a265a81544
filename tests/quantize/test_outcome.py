from modelkit.quantize.outcome import Outcome
from tests.quantize.graphs import model_of


def test_a_skip_names_the_node_or_else_its_output() -> None:
    node = model_of("(float[n] x) => (float[n] y) { y = Exp(x) }").graph[0]
    outcome = Outcome()
    node.name = None
    outcome.skip(node, "no reason")
    node.name = "here\x1b[2J"
    outcome.skip(node, "no reason")
    assert outcome.skips[0].node == "y"
    assert "\x1b" not in outcome.skips[1].node
    assert {skip.op for skip in outcome.skips} == {"Exp"}
