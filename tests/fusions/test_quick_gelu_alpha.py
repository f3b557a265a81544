import numpy as np
import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 5, 16)} for n in (0, 1, 3)]


def text(body: str, weights: str = "float[16, 32] w, float[32] b, float[32, 16] v") -> str:
    return f"""<ir_version: 10, opset_import: ["": 18, "com.microsoft": 1]>
    g (float[n, 5, 16] x) => (float[n, 5, 16] y) <{weights}>
    {{ m = MatMul(x, w) h = Add(m, b) {body} }}"""


WRITTEN = """a = Constant<value_float=1.702>() s = Mul(h, a) t = Sigmoid(s) q = Mul(h, t)
    y = MatMul(q, v)"""


@pytest.mark.parametrize(
    "body",
    [
        WRITTEN,
        "q = com.microsoft.QuickGelu(h) y = MatMul(q, v)",
        "q = com.microsoft.QuickGelu<alpha=0.5>(h) y = MatMul(q, v)",
    ],
)
def test_the_factor_goes_into_the_layers_before_and_after(body: str) -> None:
    result = rewritten(text(body), ["quick_gelu_alpha"], FEEDS)
    assert result.operators == ["MatMul", "Add", "Sigmoid", "Mul", "MatMul"]


def test_weights_are_scaled_and_scaled_back() -> None:
    source = text("q = com.microsoft.QuickGelu<alpha=2.0>(h) y = MatMul(q, v)")
    plain, folded = rewritten(source, [], []), rewritten(source, ["quick_gelu_alpha"], FEEDS)
    before = {value.name: value for value in plain.model.graph.initializers.values()}
    after = [node.inputs[1] for node in folded.model.graph if node.op_type == "MatMul"]
    for name, value, factor in zip("wv", after, (2.0, 0.5), strict=True):
        assert value is not None
        assert value.const_value is not None
        expected = factor * before[name].const_value.numpy()  # type: ignore[union-attr]
        np.testing.assert_array_equal(value.const_value.numpy(), expected)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text("q = com.microsoft.QuickGelu<alpha=1.0>(h) y = MatMul(q, v)"), ""),
        (
            text("q = com.microsoft.QuickGelu(h) r = Abs(v) y = MatMul(q, r)"),
            "the weights or the bias around it are not constant",
        ),
        (
            text("q = com.microsoft.QuickGelu(h) o = MatMul(q, v) p = MatMul(o, w) y = MatMul(p, v)"),
            "a weight or a bias is used elsewhere too",
        ),
        (
            text(WRITTEN.replace("Constant<value_float=1.702>()", "Abs(b)")),
            "its factor is not a constant number",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_folded_is_refused(source: str, reason: str) -> None:
    result = rewritten(source, ["quick_gelu_alpha"], FEEDS)
    assert not result.counts
    assert result.reason("quick_gelu_alpha") == reason
