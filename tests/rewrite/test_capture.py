from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.model import load
from modelkit.rewrite import Capture
from tests.models import model_file


def test_a_capture_tells_shape_type_value_and_attributes(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[n, 3] x) => (float[n, 3] y)
    { k = Constant<value_float=2.0>() s = Softmax<axis=1>(x) y = Mul(s, k) }"""
    graph = load(model_file(tmp_path / "m.onnx", text)).graph
    values = {value.name: value for node in graph for value in node.outputs}
    assert Capture(graph.inputs[0]).shape == ("n", 3)
    assert Capture(values["s"]).attrs == {"axis": 1}
    k = Capture(values["k"])
    assert k.is_constant
    assert k.const == np.float32(2)
    assert not Capture(values["s"]).is_constant


def test_an_absent_value_is_nothing() -> None:
    nothing = Capture(None)
    assert (nothing.const, nothing.shape, nothing.dtype, nothing.attrs) == (None, None, None, {})
    assert not nothing.is_constant


def test_a_shape_is_aligned_as_broadcasting_sees_it(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[n, 3] x) => (float[n, 3] y)
    { k = Constant<value_floats=[1.0, 2.0, 3.0]>() y = Mul(x, k) }"""
    graph = load(model_file(tmp_path / "m.onnx", text)).graph
    x, k = Capture(graph.inputs[0]), Capture(graph[0].outputs[0])
    assert x.aligned(3) == (1, "n", 3)
    assert k.aligned(2) == (1, 3)
    assert x.aligned(1) is None
    assert Capture(None).aligned(1) is None


def test_lengths_follow_from_those_of_the_inputs(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 3, height, 8] x, float[n] s) => (float[n, 4, p, q] y, float[k] z)
    <float[4, 3, 3, 3] w> { a = Conv<strides=[2, 2]>(x, w) y = Relu(a) z = Relu(s) }"""
    model = load(model_file(tmp_path / "m.onnx", text))
    made = Capture(model.graph[0].outputs[0])
    made.value.shape = ir.Shape(["n", 4, "Windows(height - 3, 2)", 3])  # type: ignore[union-attr]
    assert [made.length(axis, 224) for axis in range(4)] == [224, 4, 111, 3]
    other = Capture(model.graph[2].outputs[0])
    other.value.shape = ir.Shape(["height + unk_0"])  # type: ignore[union-attr]
    assert other.length(0, 224) is None
    assert other.measured(0) is None
    assert Capture(None).measured(0) is None
    assert made.measured(3).tolist() == [3]  # type: ignore[union-attr]
    steps = made.measured(2)
    assert [steps.op, steps.operands[0].op, steps.operands[0].operands[0].op] == [  # type: ignore[union-attr]
        "Add", "Div", "Sub",
    ]  # fmt: skip


def test_sides_of_an_input_may_be_multiples_of_a_name(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 3, h, w] x) => (float[n, 4, p, q] y)
    <float[4, 3, 3, 3] w> { a = Conv<strides=[2, 2]>(x, w) y = Relu(a) }"""
    graph = load(model_file(tmp_path / "m.onnx", text)).graph
    graph.inputs[0].shape = ir.Shape(["n", 3, "8*_h", "w"])
    made = Capture(graph[0].outputs[0])
    made.value.shape = ir.Shape(["n", 4, "Windows(8*_h - 3, 2)", "q"])  # type: ignore[union-attr]
    assert made.length(2, 224) == 111
    assert made.length(3, 224) is None
    height = made.measured(2).operands[0].operands[0].operands[0]  # type: ignore[union-attr]
    assert height.op == "Mul"
    assert any(getattr(side, "op", "") == "Div" for side in height.operands)
