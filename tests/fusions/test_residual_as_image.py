import pytest

from tests.harness import floats, rewritten

NAME = "residual_as_image"
FEEDS = [
    {"x": floats(1, b, s, 16), "r": floats(b, s, 16, seed=1)} for b, s in ((1, 3), (2, 1), (0, 2))
]


def text(body: str, residual: str = "b, s, 16") -> str:
    return f"""<ir_version: 9, opset_import: ["": 20]>
    g (float[1, b, s, 16] x, float[{residual}] r) => (float[b, s, 16] y)
    <int64[1] a = {{0}}, float[16] w, float[16] v> {{ t = Squeeze(x, a) {body} }}"""


@pytest.mark.parametrize("kind", ["Sum", "Add"])
@pytest.mark.parametrize("operands", ["t, r", "r, t"])
def test_a_residual_is_added_to_the_image(kind: str, operands: str) -> None:
    result = rewritten(text(f"y = {kind}({operands})"), [NAME], FEEDS)
    assert result.operators == ["Unsqueeze", kind, "Squeeze"]


def test_a_normalization_moves_behind_the_sum_of_an_earlier_one() -> None:
    body = """n = LayerNormalization(t, w, v) s0 = Sum(n, r)
    y = LayerNormalization<axis=-1, epsilon=0.1>(s0, w, v)"""
    result = rewritten(text(body), [NAME], FEEDS)
    assert result.operators.count("Squeeze") == 1
    assert result.operators[-1] == "Squeeze"
    assert result.counts == {NAME: 3}


def test_what_others_read_too_is_squeezed_once_more() -> None:
    result = rewritten(text("s0 = Sum(t, r) u = Abs(t) y = Mul(s0, u)"), [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators.count("Squeeze") == 2


def test_rows_of_a_matrix() -> None:
    body = "s0 = Sum(t, r) y = LayerNormalization(s0, w, v)"
    source = (
        text(body, "s, 16").replace("1, b, s, 16", "1, 1, s, 16").replace("float[b, s", "float[s")
    )
    feeds = [{"x": floats(1, 1, s, 16), "r": floats(s, 16, seed=1)} for s in (0, 1, 3)]
    result = rewritten(
        source.replace("{0}", "{0, 1}").replace("int64[1]", "int64[2]"), [NAME], feeds
    )
    assert result.operators == ["Unsqueeze", "Sum", "LayerNormalization", "Squeeze"]


@pytest.mark.parametrize(
    "source",
    [
        text("y = Sum(t, r)", "s, 16"),
        text("y = Sum(t, r)", "s, 16").replace("int64[1] a = {0}", "int64[2] a = {0, 2}"),
        text("y = LayerNormalization<axis=2>(t, w, v)"),
        text("y = Sum(t, r)").replace("{0}", "{-4}"),
    ],
)
def test_what_would_mean_another_axis_stays(source: str) -> None:
    assert not rewritten(source, [NAME], []).counts
