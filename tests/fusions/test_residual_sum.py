from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 5, 8), "r": floats(n, 5, 8, seed=1)} for n in (1, 3)]


def text(total: str, inputs: str = "float[n, 5, 8] r") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 5, 8] x, {inputs}) => (float[n, 5, 8] y)
    <float[8] c, float[8] w, float[8] b> {{ {total}
    y = LayerNormalization<axis=-1, epsilon=0.000001>(t, w, b) }}"""


def test_bias_and_residual_become_one_sum() -> None:
    result = rewritten(text("a = Add(c, x) t = Add(r, a)"), ["residual_sum"], FEEDS)
    assert result.operators == ["Sum", "LayerNormalization"]
    assert len(next(iter(result.model.graph)).inputs) == 3


def test_a_plain_residual_too_and_attributes_stay() -> None:
    result = rewritten(text("t = Add(x, r)"), ["residual_sum"], FEEDS)
    assert result.operators == ["Sum", "LayerNormalization"]
    norm = list(result.model.graph)[1]
    assert abs(norm.attributes["epsilon"].value - 1e-6) < 1e-9


def test_a_sum_that_the_next_residual_reads_is_the_same_one() -> None:
    source = text("t = Add(x, r)").replace("y)", "y, float[n, 5, 8] t)", 1)
    result = rewritten(source, ["residual_sum"], FEEDS)
    assert result.operators == ["Sum", "LayerNormalization"]


def test_operands_of_other_ranks_are_refused() -> None:
    feeds = [{"x": floats(2, 5, 8), "r": floats(5, 8)}]
    result = rewritten(text("t = Add(x, r)", "float[5, 8] r"), ["residual_sum"], feeds)
    assert result.reason("residual_sum") == "the operands are not known to have the same rank"
