import onnx_ir as ir

from modelkit.model.dims import name
from modelkit.passes.symbols.known import Content, Known, option
from tests.passes.harness import model_of

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, ?, 3] x, int64[2] default = {1, 2}) => (float y)
<int64[2] pair = {4, 5}, int64 one = {1}, float[2] real = {1.0, 2.0}> {
  y = Sum<note = 3>(x)
}"""


def test_constants_are_read_inputs_with_defaults_are_not() -> None:
    graph, known = model_of(MODEL).graph, Known(17, set())
    values = graph.initializers
    assert known.content(values["pair"]) == Content((4, 5))
    assert known.content(values["one"]) == Content((1,), scalar=True)
    assert known.content(values["real"]) is None
    assert known.content(values["default"]) is None


def test_unnamed_dims_get_names_not_in_use() -> None:
    graph, known = model_of(MODEL).graph, Known(17, {"unk_0"})
    shape = known.shape(graph.inputs[0])
    assert shape == (name("n"), name("unk_1"), 3)
    assert known.shape(graph.inputs[0]) == shape
    assert known.is_fresh(shape[1])
    assert not known.is_fresh(shape[0])


def test_integers_want_every_element() -> None:
    assert Content((1, 2)).integers == (1, 2)
    assert Content((1, None)).integers is None
    assert Content((1, name("n"))).integers is None


def test_options_have_defaults() -> None:
    node = model_of(MODEL).graph[0]
    assert (option(node, "note"), option(node, "absent", 5)) == (3, 5)
    assert option(ir.node("Op", []), "axes") is None
