from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkit.model import load
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.rewrite import Capture, Expr, apply, op, read_fusion
from tests.models import model_file, run
from tests.rewrite.test_apply import applied, module

X = np.array([[1, -2, 3], [4, 5, -6]], np.float32)


def both(x: Expr) -> tuple[Expr, Expr]:
    inner = op.Neg(x)
    return op.Exp(inner), inner


def both_after(x: Capture) -> tuple[Expr, Expr]:
    whole = op.Sub(0.0, x)
    return op.Exp(whole), whole


def compare(path: Path, *modules: Any, inputs: dict[str, np.ndarray]) -> tuple[int, list[str]]:
    found, out = applied(path, *modules)
    before, after = run(path, inputs), run(out, inputs)
    assert list(before) == list(after)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
    count = found.changes[0].count if found.changes else 0
    return count, [node.op_type for node in load(out).graph]


def test_a_second_value_is_replaced_too_and_built_once(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2,3] x) => (float[2,3] y, float[2,3] z)
    { a = Neg(x) z = Abs(a) y = Exp(a) }"""
    path = model_file(tmp_path / "m.onnx", text)
    count, left = compare(path, module(both, both_after), inputs={"x": X})
    assert count == 1
    assert sorted(left) == ["Abs", "Exp", "Sub"]


def test_both_values_may_be_outputs_of_the_graph(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2,3] x) => (float[2,3] y, float[2,3] a)
    { a = Neg(x) y = Exp(a) }"""
    path = model_file(tmp_path / "m.onnx", text)
    count, left = compare(path, module(both, both_after), inputs={"x": X})
    assert (count, sorted(left)) == (1, ["Exp", "Sub"])


def test_a_replacement_that_is_there_already_becomes_an_output_by_a_copy(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2,3] x) => (float[2,3] y)
    { a = Neg(x) y = Neg(a) }"""
    path = model_file(tmp_path / "m.onnx", text)
    twice = module(lambda x: op.Neg(op.Neg(x)), lambda x: x)
    assert compare(path, twice, inputs={"x": X}) == (1, ["Identity"])


def test_a_second_value_needed_on_the_way_to_the_first_is_refused(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2,3] x) => (float[2,3] y)
    { a = Neg(x) b = Abs(a) y = Add(a, b) }"""
    path = model_file(tmp_path / "m.onnx", text)

    def sums(x: Expr, b: Expr) -> tuple[Expr, Expr]:
        inner = op.Neg(x)
        return inner + b, inner

    found, _ = applied(path, module(sums, lambda x, b: (op.Sub(b, x), op.Sub(0.0, x))))
    assert not found.changes
    assert found.near_misses[0].reason == "'a' is also read on the way to 'y'"


def test_an_operator_with_several_outputs_is_found_and_made(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2,4] x)
      => (float[2,2] y, float[2,2] b, int64[2] s)
    { a, b = Split<axis = 1, num_outputs = 2>(x) y = Exp(a) s = Shape(a) }"""
    path = model_file(tmp_path / "m.onnx", text)

    def halves(x: Expr) -> tuple[Expr, Expr, Expr]:
        first, second = op.several(2, op.Split(x, axis=1, num_outputs=2))
        return op.Exp(first), first, second

    def swapped(x: Capture) -> tuple[Expr, Expr, Expr]:
        turned = op.Transpose(x, perm=[1, 0])
        first, second = op.several(2, op.Split(turned, axis=0, num_outputs=2))
        first, second = op.Transpose(first, perm=[1, 0]), op.Transpose(second, perm=[1, 0])
        return op.Exp(first), first, second

    inputs = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}
    count, left = compare(path, module(halves, swapped, name="halves"), inputs=inputs)
    assert count == 1
    assert left.count("Split") == 1
    assert left[-1] in ("Exp", "Shape", "Transpose")


def test_outputs_of_different_operators_are_not_taken_for_one(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2,4] x, float[2,4] z) => (float[2,2] y)
    { a, b = Split<axis = 1, num_outputs = 2>(x) c, d = Split<axis = 1, num_outputs = 2>(z)
      y = Sub(a, d) }"""
    path = model_file(tmp_path / "m.onnx", text)

    def difference(x: Expr) -> Expr:
        first, second = op.several(2, op.Split(x, axis=1, num_outputs=2))
        return first - second

    found, _ = applied(path, module(difference, lambda x: op.Neg(x)))
    assert not found.changes
    assert not found.near_misses


@pytest.mark.parametrize("read", ["s = Shape(a)", "s = Shape<start = 1>(a)"])
def test_readers_of_an_inner_shape_read_an_equal_one(read: str, tmp_path: Path) -> None:
    text = f"""<ir_version: 10, opset_import: ["": 20]> g (float[n,m] x) => (float[n,m] y, int64[k] s)
    {{ a = Neg(x) {read} y = Exp(a) }}"""
    path = model_file(tmp_path / "m.onnx", text)
    model = load(path)
    infer_symbols(model)
    fusion = read_fusion(module(lambda x: op.Exp(op.Neg(x)), lambda x: op.Exp(op.Sub(0.0, x))))
    found = apply([fusion], model, allow=lambda fusion: None)
    assert found.changes[0].count == 1
    shape = next(node for node in model.graph if node.op_type == "Shape")
    assert shape.inputs[0] is model.graph.inputs[0]
    assert shape.attributes.get_int("start", 0) == (1 if "start" in read else 0)


def test_readers_of_a_shape_that_nothing_else_has_are_refused(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[n,m] x) => (float[m,n] y, int64[2] s)
    { a = Transpose<perm = [1, 0]>(x) s = Shape(a) y = Exp(a) }"""
    path = model_file(tmp_path / "m.onnx", text)
    turned = module(lambda x: op.Exp(op.Transpose(x)), lambda x: op.Transpose(op.Exp(x)))
    found, _ = applied(path, turned)
    assert found.near_misses[0].reason == "'a' is read elsewhere too"
