from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from modelkit.model import Model, save, validate
from modelkit.precision.convert import LARGE_BYTES, Converted, convert, place_after, types_of
from tests.models import run
from tests.precision.graphs import FP16, graph, node


def converted(text: str, *floats: str, half_io: bool = False) -> tuple[Model, Converted]:
    model = graph(text)
    keep = [node(model, name) for name in floats]
    done = convert(model, types_of(model, FP16, keep, half_io=half_io))
    validate(model)
    return model, done


def operators(model: Model) -> list[str]:
    return [each.op_type for each in model.graph]


def test_one_cast_serves_all_readers() -> None:
    text = "(float[n] x) => (float[n] y) { a = Neg(x) b = Abs(x) y = Add(a, b) }"
    model, done = converted(text)
    assert operators(model) == ["Cast", "Neg", "Abs", "Add", "Cast"]
    assert done == Converted(in_half=3, casts_added=2, casts_removed=0, cast_values=("x", "y"))
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_an_output_that_is_read_inside_keeps_its_name_and_type() -> None:
    model, _ = converted("(float[n] x) => (float[n] a, float[n] y) { a = Neg(x) y = Abs(a) }")
    assert [(v.name, v.dtype) for v in model.graph.outputs] == [("a", ir.DataType.FLOAT), ("y", ir.DataType.FLOAT)]  # fmt: skip
    assert node(model, "y").op_type == "Cast"


def test_small_weights_read_in_both_types_are_stored_in_both() -> None:
    text = (
        "(float[n, 4] x) => (float[n, 4] y) <float[4, 4] w> { a = MatMul(x, w) y = MatMul(a, w) }"
    )
    model, done = converted(text, "y")
    kinds = {value.name: value.dtype for value in model.graph.initializers.values()}
    assert kinds == {"w": ir.DataType.FLOAT, "w_f16": ir.DataType.FLOAT16}
    assert done.casts_added == 2


def test_large_weights_are_stored_once() -> None:
    size = int((LARGE_BYTES / 4) ** 0.5) + 1
    text = f"(float[n, {size}] x) => (float[n, {size}] y) <float[{size}, {size}] w> {{ a = MatMul(x, w) y = MatMul(a, w) }}"  # fmt: skip
    model, done = converted(text, "y")
    assert [value.dtype for value in model.graph.initializers.values()] == [FP16]
    assert done.casts_added == 3


def test_casts_that_became_idle_go() -> None:
    text = "(float[n] x) => (float[n] y) { a = Neg(x) b = Cast<to = 1>(a) y = Abs(b) }"
    model, done = converted(text)
    assert operators(model) == ["Cast", "Neg", "Abs", "Cast"] and done.casts_removed == 1


def test_casts_of_integers_are_retargeted() -> None:
    text = "(int64[n] i, float[n] x) => (float[n] y) { f = Cast<to = 1>(i) y = Mul(x, f) }"
    model, done = converted(text)
    (cast,) = [each for each in model.graph if each.inputs[0] is model.graph.inputs[0]]
    assert cast.attributes["to"].as_int() == FP16.value and done.casts_added == 2


@pytest.mark.parametrize(
    ("body", "attribute"),
    [
        ("r = RandomNormal<shape = [3]>() y = Add(x, r)", "dtype"),
        ("r = RandomNormalLike(x) y = Add(x, r)", "dtype"),
        ("r = RandomUniformLike<dtype = 1>(x) y = Add(x, r)", "dtype"),
    ],
)
def test_operators_that_name_their_type_name_half(body: str, attribute: str) -> None:
    model, _ = converted(f"(float[3] x) => (float[3] y) {{ {body} }}")
    assert node(model, "r").attributes[attribute].as_int() == FP16.value


def test_filled_shapes_are_filled_in_half() -> None:
    text = "(float[3] x) => (float[3] y) { s = Shape(x) f = ConstantOfShape(s) g = ConstantOfShape<value = float[1] {2.5}>(s) a = Add(x, f) y = Add(a, g) }"  # fmt: skip
    model, _ = converted(text)
    for name, value in (("f", 0.0), ("g", 2.5)):
        tensor = node(model, name).attributes["value"].as_tensor()
        assert tensor.dtype is FP16 and tensor.numpy().tolist() == [value]


def test_loops_carry_half_and_bodies_hold_no_cast(tmp_path: Path) -> None:
    text = """(float[2] x, int64 n) => (float[2] y, float[k, 2] s) <float[2] w = {0.5, 1.5}>
    { y, s = Loop(n, , x) <body = b (int64 i, bool c, float[2] h) => (bool d, float[2] g, float[2] o)
      { g = Mul(h, w) o = Neg(g) d = Identity(c) }> }"""
    model, done = converted(text)
    assert done.casts_added == 3  # x, y and s, outside
    (loop,) = [each for each in model.graph if each.op_type == "Loop"]
    body = loop.attributes["body"].as_graph()
    assert [each.op_type for each in body] == ["Mul", "Neg", "Identity"]
    path = save(model, tmp_path / "m.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    feeds = {"x": np.array([1, 2], np.float32), "n": np.array(2)}
    assert run(path, feeds)["y"].tolist() == [0.25, 4.5]


def test_a_body_whose_node_keeps_float_casts_inside(tmp_path: Path) -> None:
    text = """(float[2] x, bool c) => (float[2] y) <float[2] w = {0.5, 1.5}>
    { y = If(c) <then_branch = a () => (float[2] t) { t = Mul(x, w) },
                 else_branch = b () => (float[2] e) { e = Identity(x) }> }"""
    model, done = converted(text, "y")
    assert done.casts_added == 3
    path = save(model, tmp_path / "m.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    for flag, wanted in ((True, [0.5, 3.0]), (False, [1.0, 2.0])):
        feeds = {"x": np.array([1, 2], np.float32), "c": np.array(flag)}
        assert run(path, feeds)["y"].tolist() == wanted


def test_doubles_keep_double_where_they_are_kept() -> None:
    model, _ = converted("(double[n] x) => (double[n] y) { a = Neg(x) b = Abs(a) y = Neg(b) }", "b")
    assert node(model, "b").outputs[0].dtype is ir.DataType.DOUBLE
    assert [value.dtype for value in model.graph.outputs] == [ir.DataType.DOUBLE]


def test_half_inputs_and_outputs_on_request() -> None:
    model, done = converted("(float[n] x) => (float[n] y) { y = Neg(x) }", half_io=True)
    assert done.casts_added == 0
    assert [v.dtype for v in (*model.graph.inputs, *model.graph.outputs)] == [FP16, FP16]


def test_nodes_are_placed_where_the_value_exists() -> None:
    model = graph("(float[n] x) => (float[n] y) { a = Neg(x) y = Abs(a) }")
    for value, wanted in ((model.graph.inputs[0], 0), (node(model, "a").outputs[0], 2)):
        new = ir.Node("", "Identity", [value])
        place_after(model.graph, value, new)
        assert list(model.graph).index(new) == wanted
