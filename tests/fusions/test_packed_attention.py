import pytest

from tests.harness import floats, rewritten

NAME = "packed_attention"
FEEDS = [{"x": floats(b, s, 16)} for b, s in ((1, 1), (2, 5), (1, 3))]
BIASED = "q = Add(q0, bq) k = Add(bk, k0) v = Add(v0, bv)"


def text(biases: str = BIASED, said: str = "", weights: str = "float[16, 16] wk") -> str:
    return f"""<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]>
    g (float[b, s, 16] x) => (float[b, s, 16] y)
    <float[16, 16] wq, {weights}, float[16, 16] wv, float[16] bq, float[16] bk, float[16] bv> {{
    q0 = MatMul(x, wq) k0 = MatMul(x, wk) v0 = MatMul(x, wv) {biases}
    y = Attention<q_num_heads=4, kv_num_heads=4{said}>(q, k, v) }}"""


@pytest.mark.parametrize("said", ["", ", scale=0.3", ", is_causal=1"])
def test_projections_and_attention_become_one(said: str) -> None:
    result = rewritten(text(said=said), [NAME], FEEDS)
    assert result.operators == ["Attention"]
    assert result.model.graph[0].domain == "com.microsoft"
    weights = result.model.graph[0].inputs[1]
    assert weights is not None
    assert weights.shape == [16, 48]


def test_projections_without_a_bias_count_too() -> None:
    source = text("q = Add(q0, bq) k = Identity(k0) v = Add(v0, bv)").replace(
        "k = Identity(k0)", ""
    )
    result = rewritten(source.replace("(q, k, v)", "(q, k0, v)"), [NAME], FEEDS)
    assert result.operators == ["Attention"]


def test_projections_of_different_inputs_are_no_match() -> None:
    source = text().replace("k0 = MatMul(x, wk)", "z = Abs(x) k0 = MatMul(z, wk)")
    result = rewritten(source, [NAME], FEEDS)
    assert NAME not in result.counts


def test_weights_from_outside_are_refused() -> None:
    source = text(weights="float[16, 16] unused").replace("x) =>", "x, float[16, 16] wk) =>")
    result = rewritten(source, [NAME], [{**FEEDS[0], "wk": floats(16, 16)}])
    assert result.reason(NAME) == "a projection is not a constant matrix"
