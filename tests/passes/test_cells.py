import numpy as np
import onnx_ir as ir
import pytest

from modelkit.passes.cells import Cell, Linear, constant_of
from tests.passes.harness import model_of

TEXT = """<ir_version: 10, opset_import: ["": 18]>
g (float[n, 2] x, float[n, 2] h, float[k, l] held) => (float[n, m] y)
<float[2, 4] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[4] b = {1, 2, 3, 4}, float two = {2},
 float[1] one = {1}, int64[2] from = {0, 1}, int64[2] to = {2147483647, 3},
 int64[2] axes = {0, 1}, int64[2] sizes = {1, 3}, float[2, 2] t = {1, 0, 0, 1}> { %s }"""


def cell_of(body: str) -> tuple[Cell, ir.Value]:
    """The graph as a cell whose ``held`` is ``w``, and its result."""
    graph = model_of(TEXT % body).graph
    x, h, held = graph.inputs
    outside = {held: graph.initializers["w"]}
    return Cell(graph, x, (h,), outside), graph.outputs[0]


@pytest.mark.parametrize(
    ("body", "weight", "bias"),
    [
        ("p = MatMul(x, w) y = Add(p, b)", np.arange(1, 9).reshape(2, 4), [1, 2, 3, 4]),
        ("p = MatMul(x, held) y = Sub(b, p)", -np.arange(1, 9).reshape(2, 4), [1, 2, 3, 4]),
        ("p = MatMul(x, w) y = Mul(two, p)", np.arange(2, 17, 2).reshape(2, 4), [0]),
        ("p = MatMul(x, w) y = Slice(p, from, to, axes)", [[2, 3], [6, 7]], [0]),
        ("p = MatMul(x, w) q, y = Split<axis = 1>(p, sizes)", [[2, 3, 4], [6, 7, 8]], [0]),
        ("p = MatMul(x, w) q, y = Split<axis = 1, num_outputs = 2>(p)", [[3, 4], [7, 8]], [0]),
        ("p = MatMul(x, t) y = MatMul(p, w)", np.arange(1, 9).reshape(2, 4), [0]),
        ("p = Mul(one, x) q = Identity(p) y = Gemm(q, w, b)",
         np.arange(1, 9).reshape(2, 4), [1, 2, 3, 4]),
        ("p = MatMul(x, w) y = Exp(p)", None, None),
        ("p = MatMul(x, w) q = Expand(x, sizes) y = Add(p, q)", None, None),
        ("y = Gemm<beta = 0.5>(x, w, b)", None, None),
        ("y = MatMul(x, h)", None, None),
        ("p = MatMul(x, w) y = Add(p, w)", None, None),
        ("p = MatMul(x, w) y = Gemm<alpha = 2.0>(p, t)", None, None),
        ("p = MatMul(x, w) y = Slice(p, from, axes, axes)", None, None),
        ("p = MatMul(x, w) y = Slice(p, from, to, axes, sizes)", None, None),
        ("p = MatMul(x, w) q, r, y = Split<axis = 1, num_outputs = 3>(p)", None, None),
    ],
)  # fmt: skip
def test_sums_of_products(body: str, weight: object, bias: list[int]) -> None:
    cell, result = cell_of(body)
    found = cell.linear(result)
    if weight is None:
        assert found is None
        return
    assert found is not None
    assert list(found.parts) == [cell.step]
    np.testing.assert_array_equal(found.parts[cell.step], weight)
    np.testing.assert_array_equal(found.bias, np.broadcast_to(bias, found.bias.shape))


def test_sums_join_what_is_of_one_value() -> None:
    cell, result = cell_of("p = MatMul(x, w) q = MatMul(h, w) r = Add(p, q) y = Add(r, p)")
    found = cell.linear(result)
    assert found is not None
    np.testing.assert_array_equal(found.parts[cell.step], 2 * np.arange(1, 9).reshape(2, 4))
    np.testing.assert_array_equal(found.parts[cell.states[0]], np.arange(1, 9).reshape(2, 4))


def test_a_value_by_itself_is_neither_scaled_nor_added() -> None:
    cell, result = cell_of("y = Add(x, h)")
    assert cell.linear(result) is None
    assert Linear({cell.step: None}, np.zeros(1)).changed(np.negative) is None


@pytest.mark.parametrize(
    ("body", "kind", "top"),
    [
        ("p = MatMul(x, w) y = Tanh(p)", "Tanh", 0.0),
        ("p = MatMul(x, w) y = HardSigmoid(p)", "HardSigmoid", 1.0),
        ("p = MatMul(x, w) c = Constant<value_float = 0.0>() q = Max(p, c) y = Min(q, one)",
         "HardSigmoid", 1.0),
        ("p = MatMul(x, w) y = Exp(p)", "", 0.0),
        ("p = MatMul(x, w) q = Relu(p) y = Min(q, two)", "", 0.0),
    ],
)  # fmt: skip
def test_gates(body: str, kind: str, top: float) -> None:
    cell, result = cell_of(body)
    found = cell.gate(result)
    assert (found.activation if found else ("", 0.0)) == (kind, top)


def test_constants_that_are_cut_from_others() -> None:
    cell, result = cell_of("p, q = Split<axis = 0, num_outputs = 2>(held) y = Squeeze(q)")
    np.testing.assert_array_equal(constant_of(result, cell.outside), [5, 6, 7, 8])
    assert constant_of(result) is None
    uneven, late = cell_of("p, q, r = Split<axis = 1, num_outputs = 3>(held) y = Squeeze(q)")
    assert constant_of(late, uneven.outside) is None
    stepped, late = cell_of("y = Slice(w, from, to, axes, sizes)")
    assert stepped.constant(late) is None
    cell, result = cell_of("y = Slice(w, from, to, axes)")
    np.testing.assert_array_equal(cell.constant(result), [[2, 3], [6, 7]])
