from tests.harness import floats, rewritten

NAME = "skip_rms_normalization"
FEEDS = [{"x": floats(n, s, 8), "r": floats(n, s, 8, seed=1)} for n, s in ((1, 1), (2, 3), (0, 2))]


def text(norm: str = "axis=-1, epsilon=0.001", more: str = "") -> str:
    return f"""<ir_version: 11, opset_import: ["": 23, "com.microsoft": 1]>
    g (float[n, s, 8] x, float[n, s, 8] r) => (float[n, s, 8] y{more}) <float[8] w> {{
    t = Add(x, r) y = RMSNormalization<{norm}>(t, w) }}"""


def test_residual_and_normalization_become_one() -> None:
    result = rewritten(text(), [NAME], FEEDS)
    assert result.operators == ["SkipSimplifiedLayerNormalization"]
    assert abs(result.model.graph[0].attributes["epsilon"].value - 1e-3) < 1e-9


def test_the_sum_goes_on_to_the_next_residual() -> None:
    result = rewritten(text(more=", float[n, s, 8] t"), [NAME], FEEDS)
    assert result.operators == ["SkipSimplifiedLayerNormalization"]


def test_a_normalization_over_other_axes_is_refused() -> None:
    source = text("axis=1").replace("<float[8] w>", "<float[3, 8] w>").replace("n, s, 8", "n, 3, 8")
    feeds = [{"x": floats(2, 3, 8), "r": floats(2, 3, 8, seed=1)}]
    result = rewritten(source, [NAME], feeds)
    assert result.reason(NAME) == "it is not over the last axis"
