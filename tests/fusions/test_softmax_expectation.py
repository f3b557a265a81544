import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 5, 3, 7)} for n in (1, 2)]


def text(body: str, out: str = "n, 3, 7", axis: int = 1) -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 5, 3, 7] x) => (float[{out}] y) <float[1, 5, 1, 1] w>
    {{ s = Softmax<axis={axis}>(x) ax = Constant<value_ints=[1]>() {body} }}"""


@pytest.mark.parametrize(
    ("body", "out"),
    [
        ("p = Mul(w, s) y = ReduceSum<keepdims=0>(p, ax)", "n, 3, 7"),
        ("p = Mul(s, w) y = ReduceSum<keepdims=1>(p, ax)", "n, 1, 3, 7"),
        ("y = Conv(s, w)", "n, 1, 3, 7"),
    ],
)
def test_a_mean_is_a_product_over_the_last_axis(body: str, out: str) -> None:
    result = rewritten(text(body, out), ["softmax_expectation"], FEEDS)
    assert result.operators[:4] == ["Transpose", "Softmax", "MatMul", "Squeeze"]


def test_a_sum_over_another_axis_is_refused() -> None:
    source = text("p = Mul(w, s) y = ReduceSum<keepdims=0>(p, ax)", "n, 5, 7")
    result = rewritten(
        source.replace("value_ints=[1]", "value_ints=[2]"), ["softmax_expectation"], FEEDS
    )
    assert result.reason("softmax_expectation") == "the sum is over other axes"


def test_weights_that_differ_elsewhere_are_refused() -> None:
    source = text("p = Mul(w, s) y = ReduceSum<keepdims=0>(p, ax)")
    source = source.replace("1, 5, 1, 1", "1, 5, 3, 1")
    result = rewritten(source, ["softmax_expectation"], FEEDS)
    assert result.reason("softmax_expectation") == "what it weights differs along other axes"
