import numpy as np
import onnx_ir as ir
import pytest

from modelkit.model import Model
from modelkit.rewrite.winograd import CONV, DOMAIN, OPEN, functions_written
from tests.harness import rewritten

TEXT = """<ir_version: 10, opset_import: ["": 18]>
g (float[n, 64, 16, 16] x) => (float[n, 64, 16, 16] y) <float[64, 64, 3, 3] w, float[64] b>
{ c = Conv<pads=[1,1,1,1]>(x, w, b) a = Abs(c) y = Conv<pads=[1,1,1,1]>(a, w, b) }"""


OPEN_TEXT = """<ir_version: 10, opset_import: ["": 18]>
g (float[n, 3, h, w] x) => (float[n, 128, p, q] y)
<float[128, 3, 3, 3] v, float[128, 128, 3, 3] k, float[128] b>
{ s = Conv<pads=[1,1,1,1], strides=[4,4]>(x, v) c = Conv<pads=[1,1,1,1]>(s, k, b) a = Relu(c)
d = Abs(a) y = Conv<pads=[1,1,1,1]>(d, k, b) }"""


def written() -> Model:
    return rewritten(TEXT, ["winograd", "small_winograd"], []).model


def written_open() -> Model:
    return rewritten(OPEN_TEXT, ["open_winograd"], []).model


def test_calls_of_one_form_share_a_function() -> None:
    model = written()
    assert [node.op_type for node in model.graph] == [CONV, "Abs", CONV]
    assert functions_written(model) == [(DOMAIN, CONV, "")]
    assert model.opset_imports[DOMAIN] == 1


def test_a_file_brings_the_same_function_back() -> None:
    model = ir.from_proto(ir.to_proto(written()))
    assert functions_written(model) == [(DOMAIN, CONV, "")]
    model = ir.from_proto(ir.to_proto(written_open()))
    assert set(functions_written(model)) == {(DOMAIN, name, "") for name in OPEN}


@pytest.mark.parametrize("change", ["constant", "name", "operator"])
def test_a_function_that_computes_anything_else_is_not_taken_for_it(change: str) -> None:
    model = written()
    function = model.functions[DOMAIN, CONV, ""]
    if change == "name":
        model.functions[DOMAIN, "Other", ""] = ir.Function(
            DOMAIN, "Other", graph=function.graph, attributes=list(function.attributes.values())
        )
        del model.functions[DOMAIN, CONV, ""]
    elif change == "operator":
        node = next(node for node in function if node.op_type == "Sub")
        node.op_type = "Add"
    else:
        node = next(node for node in function if "value_float" in node.attributes)
        node.attributes["value_float"] = ir.AttrFloat32("value_float", 0.3)
    assert functions_written(model) == []


def test_basis_and_taps_compute_a_convolution_of_three() -> None:
    # Independent of any runtime: B, G and A as the paper has them give a correlation.
    taps = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                     [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]])  # fmt: skip
    rng = np.random.default_rng(0)
    rows, kernel = rng.standard_normal(6), rng.standard_normal(3)
    k0, k1, k2 = kernel
    even, odd = -(k0 + k2) / 6, -k1 / 6
    ends, middle = -(k0 / 4 + k2) / 6, odd / 2
    products = (taps @ rows) * [k0 / 4, even + odd, even - odd, ends + middle, ends - middle, k2]
    a, b = products[1] + products[2], products[3] + products[4]
    c, d = products[1] - products[2], products[3] - products[4]
    made = [products[0] + a - b, c - 2 * d, a - 4 * b, c - 8 * d + products[5]]
    np.testing.assert_allclose(made, np.correlate(rows, kernel, "valid"), atol=1e-12)
