import numpy as np
import pytest

from modelkit.model import Model
from modelkit.passes.join_parts import join_parts
from modelkit.passes.remove_unused import remove_unused
from modelkit.passes.share_initializers import share_initializers
from tests.harness import Result, floats, rewritten
from tests.passes.harness import run

NAME = "inverted_residual"
SIDE = 96
FEEDS = [{"x": floats(n, 16, SIDE, SIDE)} for n in (1, 3)]
GATE = """m = GlobalAveragePool(d) s = Conv(m, w4, b4) r = Relu(s) e = Conv(r, w5, b5)
    g = Sigmoid(e) t = Mul(d, g)"""
NONE = "t = Identity(d)"
SILU = ("sa = Sigmoid(a) u = Mul(a, sa)", "sf = Sigmoid(f) d = Mul(f, sf)")
CLIP = ("u = Clip(a, low, high)", "d = Clip(f, low, high)")


def text(
    gate: str = NONE,
    active: tuple[str, str] = SILU,
    *,
    side: str = str(SIDE),
    wide: int = 96,
    each: int = 1,
    biases: bool = True,
) -> str:
    first, second, last = (", b1", ", b2", ", b3") if biases else ("", "", "")
    return f"""<ir_version: 10, opset_import: ["": 20]> g
    (float[n, 16, {side}, {side}] x) => (float[n, 32, p, q] y)
    <float[{wide}, 16, 1, 1] w1, float[{wide}] b1, float[{wide * each}, 1, 3, 3] w2,
     float[{wide * each}] b2, float[32, {wide * each}, 1, 1] w3, float[32] b3,
     float[16, {wide * each}, 1, 1] w4, float[16] b4, float[{wide * each}, 16, 1, 1] w5,
     float[{wide * each}] b5>
    {{ low = Constant<value_float=0.0>() high = Constant<value_float=6.0>()
    a = Conv(x, w1{first}) {active[0]}
    f = Conv<pads=[1, 1, 1, 1], group={wide}>(u, w2{second}) {active[1]} {gate}
    o = Conv(t, w3{last}) y = Add(o, o) }}"""


def fused(source: str) -> Result:
    return rewritten(source.replace(NONE, "").replace("Conv(t", "Conv(d"), [NAME], FEEDS[:1])


@pytest.mark.parametrize("active", [SILU, CLIP, ("u = Relu(a)", "d = HardSwish(f)")])
def test_each_part_of_the_channels_has_a_branch(active: tuple[str, str]) -> None:
    source = text(active=active).replace(NONE, "").replace("Conv(t", "Conv(d")
    result = rewritten(source, [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators.count("Conv") == 9
    assert result.operators.count("Add") == 3
    assert "Concat" not in result.operators


def test_a_gate_is_made_of_all_and_applied_to_each() -> None:
    result = rewritten(text(GATE), [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators.count("Conv") == 13
    assert result.operators.count("GlobalAveragePool") == 3
    assert result.operators.count("Resize") == 3
    assert result.operators.count("Concat") == 1


def test_the_last_part_may_be_smaller() -> None:
    result = fused(text(wide=112, biases=False))
    assert result.counts == {NAME: 1}
    widths = {
        node.inputs[1].shape[0]
        for node in result.model.graph
        if node.op_type == "Conv" and node.inputs[1] is not None and node.inputs[1].shape
    }
    assert widths == {16, 32}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(side="n2"), "the size of its feature map is not fixed"),
        (text(wide=100), "its channels are not a multiple of 16"),
        (text(wide=64), "its widest map is small (2359296 bytes)"),
        (text(each=2), "a channel is filtered more than once"),
        (text().replace("a = Conv(x", "a = Conv<strides=[1,1], group=2>(x").replace(
            "96, 16, 1, 1] w1", "96, 8, 1, 1] w1"), "it widens or narrows in groups"),
        (text().replace("32, 96, 1, 1] w3", "32, 96, 3, 3] w3"),
         "its other convolutions are not 1x1"),
    ],
)  # fmt: skip
def test_other_blocks_are_refused(source: str, reason: str) -> None:
    assert fused(source).reason(NAME) == reason


def test_a_map_that_others_read_is_left() -> None:
    source = text().replace(NONE, "").replace("Conv(t", "Conv(d").replace("Add(o, o)", "Add(o, k)")
    source = source.replace("y = Add", "k = ReduceMax<keepdims=1>(d) y = Add")
    assert not rewritten(source, [NAME], FEEDS[:1]).counts


@pytest.mark.parametrize("gate", [NONE, GATE])
def test_parts_can_be_joined_again(gate: str) -> None:
    source = text(gate) if gate == GATE else text().replace(NONE, "").replace("Conv(t", "Conv(d")
    model: Model = rewritten(source, [NAME], FEEDS[:1]).model
    share_initializers(model)
    expected = run(model, FEEDS[1])
    assert join_parts(model).count == 1
    remove_unused(model)
    assert [node.op_type for node in model.graph].count("Conv") == (5 if gate == GATE else 3)
    (found,) = run(model, FEEDS[1])
    np.testing.assert_allclose(found, expected[0], atol=1e-5 * np.abs(expected[0]).max(), rtol=0)
