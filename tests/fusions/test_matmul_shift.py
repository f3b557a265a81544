import pytest

from tests.harness import floats, rewritten

NAME = "matmul_shift"
FEEDS = [{"x": floats(n, h, 8), "n": floats(n, 1, 8, seed=1)} for n, h in ((1, 1), (2, 3), (0, 2))]


def text(
    body: str = "g = Mul(x, n) s = Add(g, c) m = MatMul(s, w) y = Add(m, d)",
    c: str = "float[1, 1, 8] c",
    d: str = "float[6] d",
) -> str:
    return f"""<ir_version: 8, opset_import: ["": 18]>
    g (float[b, h, 8] x, float[b, 1, 8] n) => (float[b, h, 6] y) <float[8, 6] w, {c}, {d}>
    {{ {body} }}"""


@pytest.mark.parametrize("c", ["float[1, 1, 8] c", "float[8] c", "float c = {0.5}"])
@pytest.mark.parametrize("d", ["float[6] d", "float[1, 6] d", "float[1] d = {2.0}"])
def test_what_is_added_goes_into_the_bias(c: str, d: str) -> None:
    result = rewritten(text(c=c, d=d), [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators == ["Mul", "MatMul", "Add"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(c="float[1, 3, 8] c"), "what is added is not one number for each column"),
        (text(d="float[3, 6] d"), "its bias is no row"),
    ],
)
def test_what_is_left(source: str, reason: str) -> None:
    assert rewritten(source, [NAME], []).reason(NAME) == reason


def test_normalizations_keep_their_bias() -> None:
    source = text("g = Mul(x, c) s = Add(g, c) m = MatMul(s, w) y = Add(m, d)")
    assert not rewritten(source, [NAME], FEEDS).counts
