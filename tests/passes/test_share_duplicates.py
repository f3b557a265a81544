from modelkit.passes.share_duplicates import share_duplicates
from tests.passes.harness import applied, normal, ops


def graph(first: str, second: str) -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[2, 3] x) => (float[m, k] y) {{
      a = {first}
      b = {second}
      y = Add(a, b)
    }}"""


def test_equal_nodes_are_computed_once() -> None:
    text = graph("Transpose<perm = [0, 1]>(x)", "Transpose<perm = [0, 1]>(x)")
    model, count = applied(text, share_duplicates, trials=({"x": normal(2, 3)},))
    assert (count, ops(model)) == (1, {"Transpose": 1, "Add": 1})


def test_another_attribute_keeps_both() -> None:
    assert applied(graph("Softmax<axis = 0>(x)", "Softmax<axis = 1>(x)"), share_duplicates)[1] == 0


def test_random_nodes_are_never_shared() -> None:
    assert applied(graph("RandomNormalLike(x)", "RandomNormalLike(x)"), share_duplicates)[1] == 0


def test_two_outputs_of_the_model_both_stay() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n] x) => (float[n] y, float[n] z) { y = Relu(x)
                                                 z = Relu(x) }"""
    model, count = applied(text, share_duplicates, trials=({"x": normal(4)},))
    assert (count, ops(model)) == (0, {"Relu": 2})


def test_an_output_and_an_inner_value_share_under_the_output_name() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n] x) => (float[n] y, float[n] z) { a = Relu(x)
                                                 y = Relu(x)
                                                 z = Neg(a) }"""
    model, count = applied(text, share_duplicates, trials=({"x": normal(4)},))
    assert (count, ops(model)) == (1, {"Relu": 1, "Neg": 1})
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
