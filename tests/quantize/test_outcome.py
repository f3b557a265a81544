import pytest

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


@pytest.mark.parametrize(("count", "last"), [(2, "n1)"), (8, "n7)"), (10, "n7 and 2 more)")])
def test_unseen_layers_are_named_but_not_without_end(count: int, last: str) -> None:
    outcome = Outcome(unseen=[f"n{number}" for number in range(count)])
    [line] = outcome.note("so it is")
    assert line.startswith(f"{count} layers are in bodies")
    assert "so it is" in line
    assert line.endswith(last)
    assert Outcome().note("so it is") == []
