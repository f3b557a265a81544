import pytest

from tests.harness import floats, rewritten

NAME = "gemm_batch_normalization"
FEEDS = [{"x": floats(n, 4, seed=n)} for n in (1, 3)]


def text(gemm: str, weight: str = "float[4, 6]") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 4] x) => (float[n, 6] y)
    <{weight} k, float[6] c, float[6] s, float[6] b, float[6] m,
     float[6] v = {{1, 2, 3, 0.5, 0.25, 1}}>
    {{ f = {gemm} y = BatchNormalization(f, s, b, m, v) }}"""


@pytest.mark.parametrize(
    ("gemm", "weight"),
    [
        ("Gemm(x, k, c)", "float[4, 6]"),
        ("Gemm<transB=1>(x, k, c)", "float[6, 4]"),
        ("Gemm(x, k)", "float[4, 6]"),
    ],
)
def test_the_statistics_go_into_the_weights(gemm: str, weight: str) -> None:
    assert rewritten(text(gemm, weight), [NAME], FEEDS).operators == ["Gemm"]


def test_a_scaled_gemm_is_refused() -> None:
    result = rewritten(text("Gemm<alpha=2.0>(x, k, c)"), [NAME], FEEDS)
    assert result.reason(NAME) == "the Gemm scales its parts"
