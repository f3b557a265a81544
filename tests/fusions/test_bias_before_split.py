import pytest

from tests.harness import floats, rewritten

NAME = "bias_before_split"
FEEDS = [{"x": floats(n, s, 8)} for n, s in ((1, 1), (2, 5), (2, 0))]


def text(
    bias: str = "2, 3", heads: str = "0, 0, 2, 3", out: str = "n, s, 2, 3", end: str = "Add(r, b)"
) -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[n, s, 8] x) => (float[{out}] y) <float[8, 6] w, float[{bias}] b> {{
    heads = Constant<value_ints=[{heads}]>() p = MatMul(x, w) r = Reshape(p, heads)
    y = {end} }}"""


@pytest.mark.parametrize(
    ("bias", "heads", "out", "end"),
    [
        ("2, 3", "0, 0, 2, 3", "n, s, 2, 3", "Add(r, b)"),
        ("1, 1, 2, 3", "0, 0, 2, 3", "n, s, 2, 3", "Add(b, r)"),
        ("2, 1, 3", "0, 0, 2, 1, 3", "n, s, 2, 1, 3", "Add(r, b)"),
    ],
)
def test_a_bias_of_heads_is_added_to_columns(bias: str, heads: str, out: str, end: str) -> None:
    result = rewritten(text(bias, heads, out, end), [NAME], FEEDS)
    assert result.operators == ["MatMul", "Add", "Reshape"]


@pytest.mark.parametrize(
    ("bias", "heads", "out"),
    [
        ("3", "0, 0, 2, 3", "n, s, 2, 3"),
        ("2, 1", "0, 0, 2, 3", "n, s, 2, 3"),
        ("6", "0, 0, 6", "n, s, 6"),
        ("5, 2, 3", "0, 5, 2, 3", "n, s, 2, 3"),
        ("1, 1, 1, 2, 3", "0, 0, 2, 3", "a, n, s, 2, 3"),
    ],
    ids=["of a width", "of heads", "one axis", "of rows", "more axes"],
)
def test_others_stay(bias: str, heads: str, out: str) -> None:
    source = text(bias, heads, out)
    assert rewritten(source, [NAME], [{"x": floats(2, 5, 8)}]).counts == {}
