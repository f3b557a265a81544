from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 8)} for n in (1, 3)]


def test_the_bias_becomes_a_sum() -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[n, 8] x) => (float[n, 8] y)
    <float[8] c> { a = Add(c, x) y = Gelu<approximate="tanh">(a) }"""
    result = rewritten(text, ["bias_gelu"], FEEDS)
    assert result.operators == ["Sum", "Gelu"]
    assert list(result.model.graph)[1].attributes["approximate"].value == "tanh"


def test_two_activations_are_refused() -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[n, 8] x) => (float[n, 8] y)
    { b = Neg(x) c = Abs(x) a = Add(b, c) y = Gelu(a) }"""
    result = rewritten(text, ["bias_gelu"], FEEDS)
    assert result.reason("bias_gelu") == "neither operand is a constant"
