from modelkit.quantize.embeddings import Tables, is_table
from tests.quantize.graphs import model_of

TEXT = "(int64[n] i, int64[n] j) => (float[n, 64] y) <float[400, 64] t>"


def test_a_table_read_twice_is_stored_once() -> None:
    graph = model_of(f"{TEXT} {{ a = Gather(t, i) b = Gather(t, j) y = Add(a, b) }}").graph
    tables = Tables()
    gathers = [node for node in graph if node.op_type == "Gather"]
    assert all(is_table(node.inputs[0]) for node in gathers)
    assert [tables.shrink(node, graph) for node in gathers] == [None, None]
    assert sum(name.endswith("_quantized") for name in graph.initializers) == 1


def test_a_table_indexed_by_columns_says_so() -> None:
    graph = model_of(f"{TEXT} {{ a = Gather<axis=1>(t, i) y = Transpose(a) }}").graph
    assert "rows" in (Tables().shrink(graph[0], graph) or "")
