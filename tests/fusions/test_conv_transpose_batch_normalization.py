import pytest

from tests.harness import floats, rewritten

NAME = "conv_transpose_batch_normalization"
FEEDS = [{"x": floats(n, 4, 5, 6, seed=n)} for n in (1, 2)]


def text(conv: str, weight: str) -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 4, 5, 6] x) => (float[n, 6, h, w] y)
    <{weight} k, float[6] c, float[6] s, float[6] b, float[6] m,
     float[6] v = {{1, 2, 3, 0.5, 0.25, 1}}>
    {{ f = {conv} y = BatchNormalization<epsilon=0.001>(f, s, b, m, v) }}"""


@pytest.mark.parametrize(
    ("conv", "weight"),
    [
        ("ConvTranspose<strides=[2,2]>(x, k, c)", "float[4, 6, 3, 3]"),
        ("ConvTranspose(x, k)", "float[4, 6, 2, 2]"),
        ("ConvTranspose<group=2>(x, k)", "float[4, 3, 3, 3]"),
    ],
)
def test_the_statistics_go_into_the_weights(conv: str, weight: str) -> None:
    assert rewritten(text(conv, weight), [NAME], FEEDS).operators == ["ConvTranspose"]


def test_training_is_refused() -> None:
    source = text("ConvTranspose(x, k)", "float[4, 6, 2, 2]")
    source = source.replace("<epsilon=0.001>", "<training_mode=1>").replace("y = B", "y, p, q = B")
    assert "in training mode" in rewritten(source, [NAME], []).reason(NAME)
