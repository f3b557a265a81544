from modelkit.passes.infer_symbols import content_of, infer_symbols, shape_of
from modelkit.passes.symbols.known import Content
from tests.passes.harness import model_of


def shapes(text: str) -> dict[str, str]:
    model = model_of(text)
    infer_symbols(model)
    return {str(v.name): str(v.shape) for node in model.graph.all_nodes() for v in node.outputs}


CHAIN = """<ir_version: 8, opset_import: ["": 17]>
g (float[batch, seq, 8] x) => (float[a, b, c] y) <float[8, 8] w> {
  m = MatMul(x, w)
  r = Relu(m)
  y = Identity(r)
}""".replace("<float[8, 8] w> ", "").replace("8] x)", "8] x, float[8, 8] w)")


def test_names_run_through_and_declared_outputs_stay() -> None:
    assert shapes(CHAIN) == {"m": "[batch,seq,8]", "r": "[batch,seq,8]", "y": "[a,b,c]"}


def test_the_shape_of_an_output_is_known_beside_the_one_it_is_declared() -> None:
    model = model_of(CHAIN)
    infer_symbols(model)
    shape = shape_of(model.graph.outputs[0])
    assert shape is not None
    assert str(shape) == "[batch,seq,8]"
    assert shape_of(model.graph.inputs[0]) == model.graph.inputs[0].shape


def test_a_second_run_learns_nothing() -> None:
    model = model_of(CHAIN)
    assert infer_symbols(model).count > 0
    assert infer_symbols(model).count == 0


def test_what_the_file_says_counts_where_no_rule_can_tell() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
    g (float[n] x) => (float y) <float[rows, 4] a, float[wrong] b> {
      a = own.Strange(x)
      b = Relu(x)
      c = Relu(a)
      y = ReduceSum<keepdims = 0>(c)
    }"""
    found = shapes(text)
    assert (found["b"], found["c"]) == ("[n]", "[rows,4]")


def test_a_loop_body_does_not_trust_names_of_outside() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n] x) => (float[m] y) <int64 trips = {3}, bool go = {1}> {
      y = Loop(trips, go, x) <body = b (int64 i, bool c, float[n] v) => (bool d, float[k] w) {
        d = Identity(c)
        e = Concat<axis = 0>(v, x)
        w = Identity(e)
      }>
    }"""
    assert shapes(text)["e"] == "[unk_0 + n]" or shapes(text)["e"] == "[n + unk_0]"


def test_contents_are_kept_on_the_values() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[2, 3] x) => (int64[2] y) { s = Shape(x)
                                        y = Abs(s) }"""
    model = model_of(text)
    infer_symbols(model)
    assert content_of(model.graph[0].outputs[0]) == Content((2, 3))
    assert content_of(model.graph.outputs[0]) is None


def test_a_name_of_the_file_is_not_handed_out_again() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[unk_0] x, float[m] z) => (float[k] y) { a = Add(x, z)
                                                     y = Identity(a) }"""
    assert shapes(text)["a"] == "[unk_1]"
