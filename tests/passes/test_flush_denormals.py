import numpy as np
import onnx_ir as ir
import pytest

from modelkit.model import Model, clone
from modelkit.passes.flush_denormals import SMALLEST, flush_denormals, tiny_weights
from tests.models import parsed
from tests.passes.harness import check, normal

CONV = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3, h, w] x) => (float[n, 8, h, w] y) <float[8, 3, 3, 3] k, float[8] b>
{ y = Conv<pads=[1, 1, 1, 1]>(x, k, b) }"""
LIMIT = 2.0**SMALLEST


def holding(text: str, **arrays: np.ndarray) -> Model:
    model: Model = ir.serde.deserialize_model(parsed(text))
    for name, array in arrays.items():
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    return model


def weights(model: Model, name: str) -> np.ndarray:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


def decayed(*shape: int) -> np.ndarray:
    """Weights of which every third has decayed: denormal, tiny or zero."""
    array: np.ndarray = normal(*shape).astype(np.float32)
    array.reshape(-1)[::9] = 1e-41
    array.reshape(-1)[3::9] = -1e-33
    array.reshape(-1)[6::9] = 0
    return array


def test_what_is_too_small_to_count_becomes_zero() -> None:
    before = holding(CONV, k=decayed(8, 3, 3, 3), b=normal(8))
    after = clone(before)
    done = flush_denormals(after)
    assert done.count == 1
    assert done.notes == ("48 numbers in 1 tensors",)
    found, kept = weights(after, "k"), weights(before, "k")
    assert not ((np.abs(found) < LIMIT) & (found != 0)).any()
    assert np.array_equal(found[np.abs(kept) >= LIMIT], kept[np.abs(kept) >= LIMIT])
    check(after, {"x": normal(2, 3, 5, 4)}, {"x": normal(0, 3, 5, 4)}, exact=True, before=before)
    assert flush_denormals(after).count == 0


def test_the_limit_itself_stays() -> None:
    array = np.array([LIMIT, np.nextafter(np.float32(LIMIT), np.float32(0)), 1, -LIMIT], np.float32)
    model = holding(CONV, k=normal(8, 3, 3, 3), b=np.tile(array, 2))
    flush_denormals(model)
    assert weights(model, "b").tolist() == [LIMIT, 0, 1, -LIMIT] * 2


@pytest.mark.parametrize(
    "text",
    [
        # Its logarithm is taken: the number means itself.
        """<ir_version: 8, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 4] y)
        <float[4] k> { a = Max(x, k) y = Log(a) }""",
        # Also looked up, by someone who may want the number.
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[n, 4] x, int64[m] i) => (float[n, 4] y, float[m, 4] z)
        <float[4, 4] k> { y = MatMul(x, k) z = Gather(k, i) }""",
        # Given by the caller, or handed out.
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[n, 4] x, float[4, 4] k) => (float[n, 4] y) <float[4, 4] k> { y = MatMul(x, k) }""",
    ],
)
def test_other_constants_stay(text: str) -> None:
    shape = (4,) if "[4] k" in text else (4, 4)
    model = holding(text, k=np.full(shape, 1e-41, np.float32))
    assert flush_denormals(model).count == 0
    assert not list(tiny_weights(model, most=1000))


def test_half_floats_stay() -> None:
    model = holding(CONV, k=normal(8, 3, 3, 3), b=normal(8))
    # Denormal there, and a number like any other.
    half = ir.tensor(np.full((8, 3, 3, 3), 1e-7, np.float16), name="k")
    model.graph.initializers["k"].const_value = half
    model.graph.initializers["k"].type = ir.TensorType(ir.DataType.FLOAT16)
    assert flush_denormals(model).count == 0


def test_weights_of_subgraphs_and_recurrent_layers_too() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[s, n, 4] x, bool c) => (float[s, 2, n, 6] y)
    <float[2, 18, 4] w, float[2, 18, 6] r> {
    y = If(c) <
      then_branch = a () => (float[s, 2, n, 6] p)
      { p = GRU<hidden_size=6, direction="bidirectional">(x, w, r) },
      else_branch = b () => (float[s, 2, n, 6] q)
      { m = Neg(x) q = GRU<hidden_size=6, direction="bidirectional">(m, w, r) }
    > }"""
    before = holding(text, w=decayed(2, 18, 4), r=normal(2, 18, 6))
    after = clone(before)
    assert flush_denormals(after).count == 1
    check(after, {"x": normal(3, 2, 4), "c": np.array(True)}, exact=False, before=before)


def test_as_many_numbers_of_each_weight_are_looked_at_as_asked_for() -> None:
    weight = normal(8, 3, 3, 3).astype(np.float32)
    weight[3, 0, 0, 0] = 1e-41
    model = holding(CONV, k=weight, b=decayed(8))
    assert [value.name for value in tiny_weights(model, most=100)] == ["k", "b"]
    assert [value.name for value in tiny_weights(model, most=81)] == ["b"]
