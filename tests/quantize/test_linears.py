import numpy as np
import pytest

from modelkit.model import const_of
from modelkit.quantize.linears import constant_bias, normalize_linears, width_of
from tests.quantize.graphs import model_of

X = "(float[n, 32] x) => (float[n, 48] y)"


@pytest.mark.parametrize(
    ("text", "operators"),
    [
        (f"{X} <float[48, 32] w, float[48] b> {{ y = Gemm<transB=1, alpha=2.0>(x, w, b) }}", "MatMul Add"),
        (f"{X} <float[32, 48] w> {{ y = Gemm(x, w) }}", "MatMul"),
        (
            "(float[4, 32] x) => (float[4, 48] y) <float[32, 48] w, float[4, 1] b>"
            "{ y = Gemm<beta=0.5>(x, w, b) }", "Mul MatMul Add",
        ),
        (
            "(float[32, 3] x) => (float[48, 3] y) <float[48, 32] w> { y = MatMul(w, x) }",
            "Transpose MatMul Transpose",
        ),
        (
            "(float[n, 32] x) => (float[n, 32] y) <float[32, 32] w, float[32] b>"
            "{ p = MatMul(x, w) y = Sum(b, p, x) }", "MatMul Add Sum",
        ),
        (
            "(float[n, 32] x) => (float[n, 32] y) <float[32, 32] w, float[32] b>"
            "{ p = MatMul(x, w) y = Sum(p, b) }", "MatMul Add",
        ),
    ],
)  # fmt: skip
def test_each_layer_becomes_a_product_and_a_vector(text: str, operators: str) -> None:
    model = model_of(text)
    assert normalize_linears(model).count == 1
    assert [node.op_type for node in model.graph] == operators.split()
    assert model.graph.outputs[0].name == "y"
    assert normalize_linears(model).count == 0


def test_factors_go_into_the_constants_which_stay_shared() -> None:
    text = f"{X} <float[32, 48] w, float[48] b> {{ a = Gemm<alpha=3.0, beta=0.5>(x, w, b) c = Gemm(x, w, b) y = Sub(a, c) }}"
    model = model_of(text)
    before = {
        name: v.const_value.numpy() for name, v in model.graph.initializers.items() if v.const_value
    }
    assert normalize_linears(model).count == 2
    first, second = [node for node in model.graph if node.op_type == "MatMul"]
    np.testing.assert_array_equal(const_of(first.inputs[1]), before["w"] * 3)
    np.testing.assert_array_equal(const_of(second.inputs[1]), before["w"])
    found = constant_bias(first)
    assert found is not None
    np.testing.assert_array_equal(const_of(found[1]), before["b"] * 0.5)
    weight = second.inputs[1]
    assert weight is not None
    assert width_of(weight) == 48


def test_a_product_that_is_read_elsewhere_keeps_its_sum() -> None:
    model = model_of(
        "(float[n, 32] x) => (float[n, 32] y, float[n, 32] p) <float[32, 32] w, float[32] b>"
        "{ p = MatMul(x, w) y = Sum(p, b, x) }"
    )
    assert normalize_linears(model).count == 0
