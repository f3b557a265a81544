from tests.harness import floats, rewritten

NAME = "skip_layer_normalization"
FEEDS = [{"x": floats(n, s, 8), "r": floats(n, s, 8, seed=1)} for n, s in ((1, 1), (2, 3), (0, 2))]
BIASED = "a = Add(c, x) t = Add(r, a)"


def text(total: str, norm: str = "t, w, b", more: str = "", r: str = "float[n, s, 8] r") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]>
    g (float[n, s, 8] x, {r}) => (float[n, s, 8] y{more})
    <float[8] c, float[8] w, float[8] b> {{ {total}
    y = LayerNormalization<axis=-1, epsilon=0.001>({norm}) }}"""


def test_bias_residual_and_normalization_become_one() -> None:
    result = rewritten(text(BIASED), [NAME], FEEDS)
    assert result.operators == ["SkipLayerNormalization"]
    node = result.model.graph[0]
    assert abs(node.attributes["epsilon"].value - 1e-3) < 1e-9
    assert len(node.inputs) == 5


def test_a_plain_residual_too() -> None:
    result = rewritten(text("t = Add(x, r)"), [NAME], FEEDS)
    assert result.operators == ["SkipLayerNormalization"]


def test_the_sum_comes_out_where_it_is_read() -> None:
    result = rewritten(text(BIASED, more=", float[n, s, 8] t"), [NAME], FEEDS)
    assert result.operators == ["SkipLayerNormalization"]
    assert [value.name for value in result.model.graph.outputs] == ["y", "t"]


def test_a_residual_that_is_broadcast_is_refused() -> None:
    source = text("t = Add(x, r)", r="float[8] r")
    result = rewritten(source, [NAME], [{**feed, "r": feed["r"][0, 0]} for feed in FEEDS[:2]])
    assert result.reason(NAME) == "the operands are not known to have the same shape"
    assert result.operators == ["Add", "LayerNormalization"]
