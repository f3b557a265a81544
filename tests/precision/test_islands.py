from modelkit.precision.convert import types_of
from modelkit.precision.islands import REASON, casts_needed, merge_islands
from modelkit.precision.rules import Keep
from tests.precision.graphs import FP16, graph, node


def merged(text: str, *floats: str) -> tuple[set[str], int, int]:
    """Outputs of the nodes that join ``floats``, and the casts needed before and after."""
    model = graph(text)
    keep: Keep = {node(model, name): "asked for" for name in floats}
    types = types_of(model, FP16, keep)
    before = casts_needed(model, types)
    added = merge_islands(model, types, keep)
    joined = {each.outputs[0].name or "" for each, reason in keep.items() if reason == REASON}
    assert len(joined) == added
    return joined, before, casts_needed(model, types)


HEAD = "(float[n, 4] x) => (float[n, 4] y) <float[4, 4] u, float[4, 4] v, float[4, 4] w> "


def test_a_chain_between_float_nodes_joins_them_as_one() -> None:
    text = HEAD + "{ a = MatMul(x, u) b = Relu(a) c = Neg(b) d = MatMul(c, v) y = MatMul(d, w) }"
    assert merged(text, "a", "d") == ({"b", "c"}, 4, 2)


def test_heavy_operators_stay_in_half() -> None:
    text = HEAD + "{ a = MatMul(x, u) b = MatMul(a, v) y = MatMul(b, w) }"
    assert merged(text, "a", "y") == (set(), 2, 2)


def test_nothing_joins_where_it_saves_nothing() -> None:
    text = HEAD + "{ a = MatMul(x, u) b = Relu(a) c = MatMul(b, v) y = MatMul(c, w) }"
    joined, before, after = merged(text, "c")
    assert not joined and before == after


def test_the_edge_of_the_graph_is_float_too() -> None:
    text = HEAD + "{ a = Relu(x) b = MatMul(a, u) y = MatMul(b, w) }"
    assert merged(text, "b")[0] == {"a"}
