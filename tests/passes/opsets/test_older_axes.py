import pytest

from modelkit.errors import Unsupported
from modelkit.passes.convert_opset import convert_opset
from tests.passes.harness import model_of, ops


def reduced(shape: str, opset: int, body: str) -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
    g ({shape} x) => (float y) <int64[1] a = {{-1}}> {{ {body} }}"""


def test_axes_become_an_attribute_and_count_from_the_front_before_opset_11() -> None:
    model = model_of(reduced("float[n, 3, 4]", 18, "y = ReduceMax(x, a)"))
    convert_opset(model, 17)
    node = model.graph[0]
    assert (len(node.inputs), node.attributes["axes"].as_ints()) == (1, (-1,))
    convert_opset(model, 9)
    assert model.graph[0].attributes["axes"].as_ints() == (2,)


def test_a_value_of_unknown_rank_has_no_front_to_count_from() -> None:
    model = model_of(reduced("float", 17, "y = ReduceMax<axes = [-1]>(z) z = Identity(x)"))
    model.graph.sort()
    for value in (model.graph.inputs[0], *(node.outputs[0] for node in model.graph)):
        value.shape = None
    with pytest.raises(Unsupported) as caught:
        convert_opset(model, 9)
    assert "unknown rank" in caught.value.cause


def test_reducing_nothing_is_no_operator() -> None:
    model = model_of(
        reduced("float[n]", 18, "z = ReduceSum<noop_with_empty_axes = 1>(x) y = Neg(z)")
    )
    convert_opset(model, 12)
    assert ops(model) == {"Neg": 1}
