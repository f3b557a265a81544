import re

import pytest

from modelkit.quantize.outcome import Outcome
from modelkit.quantize.plan import clamp_after, make_plan, settled
from tests.quantize.graphs import model_of

IMAGE = "(float[n, 4, 8, 8] x) => (float[n, 4, h, w] y)"
CONVS = "<float[4, 4, 3, 3] a, float[4, 4, 3, 3] b>"
CHAIN = "p = Conv<pads=[1,1,1,1]>(x, a) r = Relu(p) m = Add(r, r) z = Sigmoid(m) q = Conv(m, b) y = Exp(q)"


def test_what_lies_between_convolutions_is_planned_and_the_rest_is_not() -> None:
    model = model_of(f"{IMAGE} {CONVS} {{ {CHAIN} }}")
    outcome = Outcome()
    plan = make_plan(model, outcome)
    assert [layer.node for layer in plan.layers] == [n for n in model.graph if n.op_type == "Conv"]
    assert [layer.name for layer in plan.layers] == ["p", "q"]
    # The Sigmoid has no reader that wants integers, and Exp no integer kernel.
    assert [node.op_type for node in plan.between] == ["Add"]
    assert plan.tensors() == ["x", "m", "r", "q"]
    assert (outcome.candidates, outcome.quantized) == (2, 2)


def test_the_clamp_behind_a_convolution_is_its_range() -> None:
    model = model_of(f"{IMAGE} {CONVS} {{ {CHAIN} }}")
    conv = model.graph[0]
    clamp = clamp_after(conv)
    assert clamp is not None
    assert clamp.op_type == "Relu"
    assert settled(conv).name == "r"
    text = IMAGE.replace("=> (", "=> (float[n, 4, h, w] p, ")
    assert clamp_after(model_of(f"{text} {CONVS} {{ {CHAIN} }}").graph[0]) is None


def test_options_keep_layers_and_say_so() -> None:
    model = model_of(f"{IMAGE} {CONVS} {{ {CHAIN} }}")
    for node in model.graph:
        node.name = f"node_{node.outputs[0].name}"
    outcome = Outcome()
    plan = make_plan(model, outcome, exclude=[re.compile("_p$")], keep=frozenset(["node_q"]))
    assert (plan.layers, plan.between) == ([], [])
    reasons = [skip.reason for skip in outcome.skips]
    assert reasons == ["excluded by option", "it loses too much accuracy in eight bits"]


def test_weights_that_are_no_numbers_stay() -> None:
    model = model_of("(float[n, 8] x) => (float[n, 8] y) <float[8, 8] w> { y = MatMul(x, w) }")
    array = model.graph.initializers["w"].const_value
    assert array is not None
    array.numpy()[0, 0] = float("inf")
    outcome = Outcome()
    make_plan(model, outcome)
    assert "NaN or infinity" in outcome.skips[0].reason


@pytest.mark.parametrize(("side", "quantized"), [(4, 0), (8, 1)])
def test_a_convolution_between_float_layers_needs_products_enough(
    side: int, quantized: int
) -> None:
    text = f"""(float[n, 1, 32, 32] x) => (float[n, 24, h, v] y)
    <float[24, 1, {side}, {side}] w> {{ c = Conv<strides=[{side},{side}]>(x, w) y = Tanh(c) }}"""
    outcome = Outcome()
    plan = make_plan(model_of(text), outcome)
    assert len(plan.layers) == outcome.quantized == quantized
    assert outcome.candidates == outcome.quantized + len(outcome.skips)


def test_a_float_activation_keeps_the_chain_of_integers_whole() -> None:
    body = """p = Conv<pads=[1,1,1,1]>(x, a) r = HardSwish(p) s = Conv<pads=[1,1,1,1]>(r, b)
    t = Tanh(s) m = Add(r, t) q = Conv(m, b) y = Exp(q)"""
    plan = make_plan(model_of(f"{IMAGE} {CONVS} {{ {body} }}"), Outcome())
    assert [node.op_type for node in plan.between] == ["HardSwish", "Tanh", "Add"]
    assert sorted(plan.tensors()) == ["m", "p", "q", "r", "s", "t", "x"]


@pytest.mark.parametrize(
    ("channels", "body", "entries", "layers"),
    [
        (3, "p = Conv(x, s) r = Relu(p) q = Conv(r, b) y = Exp(q)", ["p"], ["q"]),
        (3, "p = Conv(x, s) r = HardSwish(p) q = Conv(r, b) y = Exp(q)", ["r"], ["q"]),
        (
            3,
            "p = Conv(x, s) r = HardSwish(p) q = Conv(r, b) t = Add(p, q) y = Exp(t)",
            ["p"],
            ["q"],
        ),
        (3, "p = Conv(x, s) y = Exp(p)", [], ["p"]),
        (4, "p = Conv(x, s) r = Relu(p) q = Conv(r, b) y = Exp(q)", [], ["p", "q"]),
    ],
)
def test_convolutions_of_few_channels_are_entries_of_the_integers_behind_them(
    channels: int, body: str, entries: list[str], layers: list[str]
) -> None:
    head = IMAGE.replace("4, 8, 8] x", f"{channels}, 8, 8] x")
    if "Add" in body:
        body = body.replace("Conv(r", "Conv<pads=[1,1,1,1]>(r")
    model = model_of(f"{head} <float[4, {channels}, 3, 3] s, float[4, 4, 3, 3] b> {{ {body} }}")
    outcome = Outcome()
    plan = make_plan(model, outcome, float_stems=True)
    assert [node.outputs[0].name for node in plan.entries] == entries
    assert [layer.name for layer in plan.layers] == layers
    assert outcome.candidates == outcome.quantized + len(outcome.skips)
    assert make_plan(model, Outcome()).entries == []
