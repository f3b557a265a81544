import pytest

from tests.harness import floats, rewritten

NAME = "matmul_scale"
FEEDS = [{"x": floats(n, 3, 4, seed=n)} for n in (1, 2, 0)]


def text(body: str, factor: str = "float[5]", more: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 3, 4] x) => (float[n, 3, 5] y{more}) <float[4, 5] w, float[5] b, {factor} c>
    {{ m = MatMul(x, w) {body} }}"""


@pytest.mark.parametrize("factor", ["float[5]", "float[1]", "float"])
def test_the_factor_goes_into_the_weights(factor: str) -> None:
    assert rewritten(text("y = Mul(c, m)", factor), [NAME], FEEDS).operators == ["MatMul"]
    body = "a = Add(m, b) y = Mul(a, c)"
    assert rewritten(text(body, factor), [NAME], FEEDS).operators == ["MatMul", "Add"]


def test_a_factor_for_each_row_is_refused() -> None:
    result = rewritten(text("y = Mul(c, m)", "float[3, 1]"), [NAME], FEEDS)
    assert result.reason(NAME) == "the factor or the bias is not one for each column"


def test_a_weight_that_others_use_is_not_doubled() -> None:
    source = text("e = Neg(x) z = MatMul(e, w) y = Mul(c, m)", more=", float[n, 3, 5] z")
    assert rewritten(source, [NAME], FEEDS).reason(NAME) == "its weight is used elsewhere too"
