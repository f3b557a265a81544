import onnx_ir as ir
import pytest

from modelkit.errors import Unsupported
from modelkit.passes.opsets.schemas import conform, default, schema


def cast(**attributes: int) -> ir.Node:
    value = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT))
    return ir.node("Cast", [value], {"to": 1, **attributes})


def conformed(node: ir.Node, before: int, after: int) -> ir.Node:
    old, new = schema(node.op_type, before), schema(node.op_type, after)
    assert old is not None
    assert new is not None
    conform(node, old, new)
    return node


def test_an_attribute_that_holds_its_default_may_go() -> None:
    assert list(conformed(cast(saturate=1), 21, 13).attributes) == ["to"]
    with pytest.raises(Unsupported, match="Cast"):
        conformed(cast(saturate=0), 21, 13)


def test_defaults_that_changed_are_written_out() -> None:
    node = ir.node("Softmax", [ir.Value(name="x")])
    assert conformed(node, 13, 12).attributes["axis"].as_int() == -1


def test_element_types_must_have_been_there() -> None:
    node = cast()
    node.outputs[0].type = ir.TensorType(ir.DataType.BFLOAT16)
    with pytest.raises(Unsupported) as caught:
        conformed(node, 21, 12)
    assert "bfloat16" in caught.value.cause


def test_deprecated_operators_are_found_on_demand() -> None:
    assert schema("GroupNormalization", 18) is None
    found = schema("GroupNormalization", 18, deprecated=True)
    assert found is not None
    assert default(found.attributes["epsilon"]) == pytest.approx(1e-5)
    assert schema("NoSuchThing", 18) is None
