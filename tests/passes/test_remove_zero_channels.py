from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from modelkit.model import Model, clone, const_of
from modelkit.passes.remove_zero_channels import remove_zero_channels
from tests.models import parsed
from tests.passes.harness import Feeds, check, normal


def made(text: str, zero: dict[str, Any]) -> Model:
    """The model in ``text`` with random weights, of which some slices are zero."""
    proto = parsed(text)
    for tensor in list(proto.graph.initializer):
        if tensor.name in zero:
            array = ir.serde.deserialize_tensor(tensor).numpy().copy()
            array[zero[tensor.name]] = 0
            tensor.raw_data = array.tobytes()
    return ir.serde.deserialize_model(proto)


def weight_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {
        node.op_type + str(place): np.shape(const_of(node.inputs[1]))  # type: ignore[arg-type]
        for place, node in enumerate(model.graph)
        if node.op_type in ("MatMul", "Gemm", "Conv")
    }


def pruned(text: str, zero: dict[str, Any], *feeds: Feeds) -> tuple[Model, int]:
    before = made(text, zero)
    after = clone(before)
    count = remove_zero_channels(after).count
    check(after, *feeds, exact=False, before=before)
    return after, count


FEED = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3, 4] x) => (float[n, 3, 5] y)
<float[4, 6] w, float[6] b, float[6, 5] v, float[5] c, float half = {0.5}, float one = {1},
 float root = {1.4142135}> {
  m = MatMul(x, w)
  h = Add(m, b)
  d = Div(h, root) e = Erf(d) p = Add(e, one) q = Mul(h, p) a = Mul(q, half)
  o = MatMul(a, v)
  y = Add(o, c)
}"""
INPUTS = [{"x": normal(n, 3, 4)} for n in (1, 2)]
LAST = (slice(None), [1, 4])


def test_neurons_that_are_zero_go_through_a_gelu_of_five_nodes() -> None:
    model, count = pruned(FEED, {"w": LAST, "b": [1, 4]}, *INPUTS)
    assert count == 1
    assert list(weight_shapes(model).values()) == [(4, 4), (4, 5)]


def test_neurons_that_nobody_reads_go_too() -> None:
    model, _ = pruned(FEED, {"v": [0, 2, 5]}, *INPUTS)
    assert list(weight_shapes(model).values()) == [(4, 3), (3, 5)]


def test_a_bias_that_is_left_keeps_its_neuron() -> None:
    assert pruned(FEED, {"w": LAST}, *INPUTS)[1] == 0


def test_of_nothing_but_zeros_something_stays() -> None:
    assert pruned(FEED, {"w": slice(None), "b": slice(None)}, *INPUTS)[1] == 0


def test_a_sigmoid_makes_something_of_zero() -> None:
    text = FEED.replace(
        "d = Div(h, root) e = Erf(d) p = Add(e, one) q = Mul(h, p) a = Mul(q, half)",
        "a = Sigmoid(h)",
    )
    assert pruned(text, {"w": LAST, "b": [1, 4]}, *INPUTS)[1] == 0
    silu = text.replace("a = Sigmoid(h)", "s = Sigmoid(h) a = Mul(s, h)")
    assert pruned(silu, {"w": LAST, "b": [1, 4]}, *INPUTS)[1] == 1


CONVS = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3, 8, 8] x) => (float[n, 2, i, j] y, float[n, 2, k, l] z)
<float[6, 3, 3, 3] w, float[6] b, float[6, 1, 1] s, float[2, 6, 1, 1] v, float[2, 6, 3, 3] u> {
  c = Conv(x, w, b)
  r = Relu(c)
  m = Mul(r, s)
  p = MaxPool<kernel_shape = [2, 2]>(m)
  y = Conv(p, v)
  z = Conv(m, u)
}"""


@pytest.mark.parametrize(
    "zero", [{"w": [1, 4], "b": [1, 4]}, {"s": [1, 4]}, {"v": LAST, "u": LAST}]
)
def test_channels_with_two_readers(zero: dict[str, Any]) -> None:
    model, _ = pruned(CONVS, zero, {"x": normal(2, 3, 8, 8)})
    assert list(weight_shapes(model).values()) == [(4, 3, 3, 3), (2, 4, 1, 1), (2, 4, 3, 3)]


def test_what_one_of_two_readers_needs_stays() -> None:
    assert pruned(CONVS, {"v": LAST}, {"x": normal(2, 3, 8, 8)})[1] == 0


def test_rows_of_a_transposed_gemm() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 4] x) => (float[n, 5] y) <float[6, 4] w, float[6] b, float[5, 6] v, float[5] c> {
      m = Gemm<transB = 1>(x, w, b) a = Relu(m) y = Gemm<transB = 1>(a, v, c) }"""
    model, _ = pruned(text, {"w": [1, 4], "b": [1, 4]}, {"x": normal(3, 4)})
    assert list(weight_shapes(model).values()) == [(4, 4), (5, 4)]


def test_an_output_of_the_model_keeps_its_width() -> None:
    text = FEED.replace("[n, 3, 5] y)", "[n, 3, 5] y, float[n, 3, 6] h)")
    assert pruned(text, {"w": LAST, "b": [1, 4]}, *INPUTS)[1] == 0


def test_a_pool_over_the_neurons_is_no_activation() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 3, 4] x) => (float[n, 3, 5] y) <float[4, 6] w, float[6, 5] v> {
      m = MatMul(x, w) p = AveragePool<kernel_shape = [2], pads = [1, 0]>(m) y = MatMul(p, v) }"""
    assert pruned(text, {"w": LAST}, *INPUTS)[1] == 0


def test_weights_without_numbers_are_no_zeros() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[2, 3, 0] x) => (float[2, 3, 6] y) <float[0, 6] w> { y = MatMul(x, w) }"""
    assert pruned(text, {})[1] == 0
