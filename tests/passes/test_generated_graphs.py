"""Graphs made by Hypothesis compute the same after every level as before, optimizations off."""

import numpy as np
import onnx
import onnx_ir as ir
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from modelkit.model import validate
from modelkit.optimize import optimize
from tests.passes.harness import run

UNARY = ("Relu", "Neg", "Identity", "Sigmoid", "Abs", "Tanh")
BINARY = ("Add", "Mul", "Sub", "Max")
NEUTRAL = (("Add", 0.0), ("Mul", 1.0), ("Sub", 0.0), ("Div", 1.0), ("Add", 0.5), ("Mul", -2.0))


class Builder:
    """A graph under construction whose values all are floats [n, 4, 6], or a permutation of it."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.values: list[str] = ["x"]
        self.count = 0

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def weight(self, array: np.ndarray) -> str:
        name = self.fresh("w")
        self.weights.append(onnx.numpy_helper.from_array(array, name))
        return name

    def node(
        self, kind: str, inputs: list[str], outputs: int = 1, **attributes: object
    ) -> list[str]:
        names = [self.fresh("v") for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=self.fresh("n"), **attributes))
        return names

    def keep(self, name: str) -> None:
        self.values.append(name)

    def integers(self, *items: int) -> str:
        return self.weight(np.array(items, dtype=np.int64))


def unary(b: Builder, draw: st.DrawFn, x: str) -> None:
    b.keep(b.node(draw(st.sampled_from(UNARY)), [x])[0])


def binary(b: Builder, draw: st.DrawFn, x: str) -> None:
    b.keep(b.node(draw(st.sampled_from(BINARY)), [x, draw(st.sampled_from(b.values))])[0])


def neutral(b: Builder, draw: st.DrawFn, x: str) -> None:
    kind, value = draw(st.sampled_from(NEUTRAL))
    shape = draw(st.sampled_from([(), (1,), (6,), (1, 1, 1), (4, 6)]))
    b.keep(b.node(kind, [x, b.weight(np.full(shape, value, dtype=np.float32))])[0])


def turned(b: Builder, draw: st.DrawFn, x: str) -> None:
    first = b.node("Transpose", [x], perm=[0, 2, 1])[0]
    middle = b.node(draw(st.sampled_from(UNARY)), [first])[0] if draw(st.booleans()) else first
    b.keep(b.node("Transpose", [middle], perm=[0, 2, 1])[0])


def reshaped(b: Builder, draw: st.DrawFn, x: str) -> None:
    way = draw(st.sampled_from([(0, 24), (-1, 6), (0, 2, 12), (0, 0, 2, 3)]))
    flat = b.node("Reshape", [x, b.integers(*way)])[0]
    if draw(st.booleans()):
        flat = b.node("Relu", [flat])[0]
    b.keep(b.node("Reshape", [flat, b.integers(-1, 4, 6)])[0])


def axes(b: Builder, draw: st.DrawFn, x: str) -> None:
    axis = b.integers(draw(st.integers(-4, 3)))
    b.keep(b.node("Squeeze", [b.node("Unsqueeze", [x, axis])[0], axis])[0])


def halves(b: Builder, draw: st.DrawFn, x: str) -> None:
    axis = draw(st.sampled_from([1, 2, -1]))
    a, c = b.node("Split", [x], 2, axis=axis)
    parts = [a, c] if draw(st.booleans()) else [c, a]
    b.keep(b.node("Concat", parts, axis=axis)[0])


def sliced(b: Builder, draw: st.DrawFn, x: str) -> None:
    axis = b.integers(draw(st.sampled_from([1, 2])))
    whole = b.node("Slice", [x, b.integers(0), b.integers(2**40), axis])[0]
    b.keep(b.node("Pad", [whole, b.integers(0, 0, 0, 0, 0, 0)])[0])


def shaped(b: Builder, draw: st.DrawFn, x: str) -> None:
    shape = b.node("Shape", [draw(st.sampled_from(b.values))])[0]
    b.keep(b.node(draw(st.sampled_from(["Expand", "Reshape"])), [x, shape])[0])


def linear(b: Builder, draw: st.DrawFn, x: str) -> None:
    seed = draw(st.integers(0, 3))
    random = np.random.default_rng(seed)
    product = b.node("MatMul", [x, b.weight(random.normal(size=(6, 6)).astype(np.float32))])[0]
    b.keep(b.node("Add", [product, b.weight(random.normal(size=6).astype(np.float32))])[0])


def clipped(b: Builder, draw: st.DrawFn, x: str) -> None:
    low, high = (
        b.weight(np.array(item, dtype=np.float32))
        for item in draw(st.sampled_from([(0, 6), (-1, 1)]))
    )
    y = b.node("Clip", [x, low, high])[0]
    b.keep(b.node("Relu", [y])[0])


def cast(b: Builder, draw: st.DrawFn, x: str) -> None:
    wide = b.node("Cast", [x], to=draw(st.sampled_from([TensorProto.DOUBLE, TensorProto.FLOAT])))[0]
    b.keep(b.node("Cast", [wide], to=TensorProto.FLOAT)[0])


def chosen(b: Builder, draw: st.DrawFn, x: str) -> None:
    mask = b.weight(np.array([draw(st.booleans())] * 6))
    b.keep(b.node("Where", [mask, x, draw(st.sampled_from(b.values))])[0])


def branched(b: Builder, draw: st.DrawFn, x: str) -> None:
    info = helper.make_tensor_value_info
    bodies = {}
    for branch in ("then_branch", "else_branch"):
        y = b.fresh("v")
        node = helper.make_node(draw(st.sampled_from(UNARY)), [x], [y], name=b.fresh("n"))
        bodies[branch] = helper.make_graph([node], branch, [], [info(y, 1, None)])
    if draw(st.booleans()):
        condition = b.weight(np.array(draw(st.booleans())))
    else:
        total = b.node("ReduceSum", [x], keepdims=0)[0]
        condition = b.node("Less", [total, b.weight(np.array(0, dtype=np.float32))])[0]
    b.keep(b.node("If", [condition], **bodies)[0])


STEPS = (unary, binary, neutral, turned, reshaped, axes, halves, sliced, shaped, linear, clipped,
         cast, chosen, branched)  # fmt: skip


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    b = Builder()
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=7)):
        step(b, draw, draw(st.sampled_from(b.values)))
    last = b.values[-1]
    outputs = [last]
    if draw(st.booleans()):
        outputs += [name for name in b.values[1:-1] if name != last][:1]
    info = [helper.make_tensor_value_info(name, 1, None) for name in dict.fromkeys(outputs)]
    given = helper.make_tensor_value_info("x", 1, ["n", 4, 6])
    graph = helper.make_graph(b.nodes, "generated", [given], info, b.weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(models())
def test_every_level_computes_the_same(proto: onnx.ModelProto) -> None:
    before = ir.serde.deserialize_model(proto)
    random = np.random.default_rng(0)
    trials = [{"x": random.normal(size=(n, 4, 6)).astype(np.float32)} for n in (2, 1, 3)]
    try:
        expected = [run(before, feeds) for feeds in trials]
    except Exception:  # what the runtime refuses before is no subject here
        reject()
    for level in ("basic", "all"):
        after = optimize(before, level=level).model
        validate(after)
        for feeds, values in zip(trials, expected, strict=True):
            for old, new in zip(values, run(after, feeds), strict=True):
                assert (old.dtype, old.shape) == (new.dtype, new.shape)
                np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)
