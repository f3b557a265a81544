import numpy as np
import pytest

from modelkit.precision.masks import FILLS
from tests.precision.graphs import BF16, FP16, graph

LOWEST = float(np.finfo(np.float32).min)


def fills(body: str, half: object = FP16, weights: str = "") -> list[np.ndarray]:
    """What the constants of a graph hold after their masks are filled."""
    text = f"(float[n, 4] x, int64[n, 4] m) => (float[n, 4] y) {weights} {{ {body} }}"
    model = graph(text, half)  # type: ignore[arg-type]
    found = [v.const_value.numpy() for v in model.graph.initializers.values() if v.const_value]
    found += [
        node.attributes["value"].as_tensor().numpy()
        for node in model.graph
        if node.op_type == "ConstantOfShape"
    ]
    return [array for array in found if array.dtype == np.float32]


SCALED = "one = Constant<value_float = 1.0>() f = Cast<to = 1>(m) i = Sub(one, f) k = Mul(i, low) s = Add(x, k) y = Softmax(s)"


@pytest.mark.parametrize("low", ["-3.4028235e+38", "-1e9"])
def test_the_lowest_float_becomes_a_number_that_half_holds(low: str) -> None:
    found = fills(SCALED, weights=f"<float low = {{{low}}}>")
    assert np.float32(FILLS[FP16]) in found and np.float32(1) in found


def test_bfloat16_rounds_the_lowest_float_to_infinity_so_it_is_filled_too() -> None:
    assert np.float32(FILLS[BF16]) in fills(SCALED, BF16, f"<float low = {{{LOWEST}}}>")
    assert np.float32(-1e9) in fills(SCALED, BF16, "<float low = {-1e9}>")


def test_only_what_lies_beneath_is_filled() -> None:
    weights = f"<float[4] low = {{0.0, -5.0, {LOWEST}, -1e9}}>"
    (found,) = fills("s = Add(x, low) y = Softmax(s)", weights=weights)
    assert found.tolist() == [0, -5, FILLS[FP16], FILLS[FP16]]


def test_a_filled_shape_is_a_mask() -> None:
    body = (
        "s = Shape(x) f = ConstantOfShape<value = float[1] {-1e9}>(s) a = Add(x, f) y = Softmax(a)"
    )
    assert [FILLS[FP16]] in [array.tolist() for array in fills(body)]


@pytest.mark.parametrize(
    "body",
    [
        "s = Add(x, low) y = Relu(s)",  # never meets a Softmax
        "s = Add(x, low) z = Relu(s) t = Softmax(s) y = Add(z, t)",  # one reader does not
        "s = Where(b, x, low) y = Identity(s)",
    ],
)
def test_what_is_no_mask_keeps_its_value(body: str) -> None:
    body = "z0 = Constant<value_int = 0>() b = Greater(m, z0) " + body
    assert np.float32(-1e9) in fills(body, weights="<float low = {-1e9}>")


def test_values_above_the_range_are_no_mask() -> None:
    weights = "<float[4] low = {1e9, 0.0, 0.0, -1e9}>"
    (found,) = fills("s = Add(x, low) y = Softmax(s)", weights=weights)
    assert found.tolist()[0] == np.float32(1e9)
