import numpy as np

from modelkit.model import const_of
from modelkit.quantize.equalize import equalize
from tests.quantize.graphs import model_of

IMAGE = "(float[n, 4, 8, 8] x) => (float[n, c, h, w] y)"


def test_channels_of_both_convolutions_end_equally_large() -> None:
    text = f"{IMAGE} <float[8, 4, 3, 3] a, float[8] b, float[6, 8, 3, 3] c> {{ p = Conv(x, a, b) r = Relu(p) y = Conv(r, c) }}"
    model = model_of(text)
    shared = model.graph.initializers["a"].const_value
    assert equalize(model) == 1
    first, second = [node for node in model.graph if node.op_type == "Conv"]
    made, read = const_of(first.inputs[1]), const_of(second.inputs[1])
    assert made is not None
    assert read is not None
    ratio = np.abs(made).max(axis=(1, 2, 3)) / np.abs(read).max(axis=(0, 2, 3))
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    # The old constant may belong to another layer too.
    assert model.graph.initializers["a"].const_value is shared


def test_a_result_with_two_readers_or_another_operator_stays() -> None:
    weights = "<float[4, 4, 3, 3] a, float[4, 4, 3, 3] c>"
    for body in (
        "p = Conv<pads=[1,1,1,1]>(x, a) q = Conv<pads=[1,1,1,1]>(p, c) y = Add(p, q)",
        "p = Conv(x, a) r = Sigmoid(p) y = Conv(r, c)",
    ):
        assert equalize(model_of(f"{IMAGE} {weights} {{ {body} }}")) == 0
