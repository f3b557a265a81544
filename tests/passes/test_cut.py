import pytest

from modelkit.errors import BadInput
from modelkit.passes.cut import cut, values_of
from tests.passes.harness import check, model_of, normal, ops, run

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 4] x, bool c) => (float[n, 4] y) <float[4] w = {1, 2, 3, 4}> {
  a = Relu(x) b = Mul(a, w)
  d = If(c) <then_branch = t () => (float[n, 4] p) { p = Neg(b) },
             else_branch = e () => (float[n, 4] q) { q = Add(b, a) }>
  y = Sin(d)
}"""


def test_a_part_has_the_ends_asked_for_and_the_model_stays() -> None:
    model = model_of(TEXT)
    part = cut(model, ["a"], ["b"])
    assert ops(part) == {"Mul": 1}
    assert [value.name for value in part.graph.inputs] == ["a"]
    assert ops(model) == ops(model_of(TEXT))
    part.opset_imports[""] = 17
    assert run(part, {"a": normal(2, 4)})[0].shape == (2, 4)


def test_bodies_read_what_is_now_an_input() -> None:
    part = cut(model_of(TEXT), ["b"], ["y"])
    assert [value.name for value in part.graph.inputs] == ["b", "x", "c"]
    check(part)


def test_a_whole_model_is_a_part_of_itself() -> None:
    model = model_of(TEXT)
    assert ops(cut(model, ["x", "c"], ["y"])) == ops(model)
    assert list(values_of(model.graph)) == ["x", "c", "a", "b", "d", "y"]


def test_an_input_of_unknown_type_is_refused() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
    g (float[n] x) => (float[n] y) { a = own.magic(x) y = Neg(a) }"""
    with pytest.raises(BadInput, match="element type of 'a'"):
        cut(model_of(text), ["a"], ["y"])
