import onnx_ir as ir
import pytest

from modelkit.precision.slots import Slot, all_slots, owners
from tests.precision.graphs import BF16, FP16, graph, node

N, E, NOT = Slot.NARROWS, Slot.EITHER, Slot.NONE


@pytest.mark.parametrize(
    ("body", "inputs", "outputs"),
    [
        ("y = Add(x, x)", (N, N), (N,)),
        ("y = Shape(x)", (E,), (NOT,)),
        ("y = Cast<to = 10>(x)", (E,), (NOT,)),
        ("y = Cast<to = 11>(x)", (E,), (N,)),
        ("y = Greater(x, x)", (N, N), (NOT,)),
        ("y = ArgMax(x)", (E,), (NOT,)),
        ("k = Constant<value = float[2] {1.0, 2.0}>() y = Resize(x, '', k)", (N, NOT, NOT), (N,)),
        ("y = Gather(x, i)", (N, NOT), (N,)),
    ],
)
def test_slots_follow_from_the_signature(body: str, inputs: tuple, outputs: tuple) -> None:
    body = body.replace("''", "")
    model = graph(f"(float[2, 3] x, int64[1] i) => (float z) {{ {body} z = ReduceMean<keepdims = 0>(x) }}")  # fmt: skip
    slots = all_slots(model, FP16)[node(model, "y")]
    assert (slots.inputs, slots.outputs) == (inputs, outputs)


def test_what_the_opset_defines_for_float_only_says_so() -> None:
    model = graph("(float[2] x) => (float[2] y) <float s = {0.1}> { z = Constant<value = uint8 {0}>() q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }")  # fmt: skip
    slots = all_slots(model, FP16, "tensorrt")[node(model, "q")]
    assert not slots.narrows and "opset 17 defines it without float16" in slots.obstacle


def test_sequences_and_unknown_operators_keep_float() -> None:
    model = graph("(float[2, 3] x) => (float[1, 3] y) { i = Constant<value_int = 0>() s = SplitToSequence(x) y = SequenceAt(s, i) }")  # fmt: skip
    assert "sequences" in all_slots(model, FP16)[node(model, "s")].obstacle
    unknown = ir.Node("mine", "Magic", [model.graph.inputs[0]])
    model.graph.append(unknown)
    reader = ir.Node("", "Add", [model.graph.inputs[0], unknown.outputs[0]])
    model.graph.append(reader)
    slots = all_slots(model, FP16)
    assert "nobody here knows" in slots[unknown].obstacle
    assert "unknown type" in slots[reader].obstacle


def test_operators_without_a_kernel_on_the_target_keep_float() -> None:
    model = graph("(float[1, 1, 2, 2] x) => (float[1, 1, 1, 1] y) { y = GlobalAveragePool(x) }")
    assert all_slots(model, FP16)[node(model, "y")].narrows
    assert "CUDA" in all_slots(model, BF16)[node(model, "y")].obstacle


def test_bodies_belong_to_their_node() -> None:
    text = """(bool c, float[2] x) => (float[2] y)
    { y = If(c) <then_branch = a () => (float[2] t) { t = Relu(x) },
                 else_branch = b () => (float[2] e) { e = Neg(x) }> }"""
    model = graph(text)
    found = owners(model)
    assert len(found) == 2 and set(found.values()) == {node(model, "y")}
    assert all_slots(model, FP16)[node(model, "y")].outputs == (N,)


@pytest.mark.parametrize(("opset", "narrows"), [(13, False), (17, True)])
def test_loops_carry_bfloat16_from_opset_16_on(opset: int, narrows: bool) -> None:
    text = """(float[2] x, int64 n) => (float[2] y)
    { y = Loop(n, , x) <body = b (int64 i, bool c, float[2] h) => (bool d, float[2] g)
      { g = Neg(h) d = Identity(c) }> }"""
    model = graph(text, FP16, opset)
    assert all_slots(model, FP16)[node(model, "y")].narrows
    slots = all_slots(model, BF16)[node(model, "y")]
    assert slots.narrows is narrows
    assert narrows or "opset 13 defines it without bfloat16" in slots.obstacle


def test_the_statistics_of_a_norm_stay_float() -> None:
    text = """(float[2, 4] x) => (float[2, 4] y, float[2, 1] m) <float[4] g>
    { y, m = LayerNormalization(x, g) }"""
    for half in (FP16, BF16):
        model = graph(text, half)
        assert all_slots(model, half)[node(model, "y")].outputs == (N, NOT)


def test_bits_taken_for_floats_stay_what_they_are() -> None:
    model = graph("(int32[2] x) => (float[2] y) { y = BitCast<to = 1>(x) }", FP16, 26)
    assert "bits" in all_slots(model, FP16)[node(model, "y")].obstacle
