"""What ONNX's operator schemas say about a node at an opset."""

from typing import Any

import onnx
import onnx_ir as ir

from modelkit.errors import Unsupported
from modelkit.safe import safe


def schema(kind: str, version: int, *, deprecated: bool = False) -> onnx.defs.OpSchema | None:
    """The schema of operator ``kind`` of the ONNX domain at ``version``, None if it has none.

    With ``deprecated`` also one that models of that opset should not use any more.
    """
    try:
        found = onnx.defs.get_schema(kind, version, "")
    except onnx.defs.SchemaError:
        return None
    return None if found.deprecated and not deprecated else found


def refusal(node: ir.Node, why: str) -> Unsupported:
    """The error for a node that has no older form."""
    title = f"{safe(node.op_type)} '{safe(node.name or node.outputs[0].name or '', 80)}'"
    return Unsupported(
        f"{title} has no form in the opset asked for",
        cause=f"{title}: {why}",
        hint="choose a newer opset",
    )


def conform(node: ir.Node, old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> None:
    """Spell the attributes of ``node`` so that they mean under ``new`` what they did under ``old``.

    Defaults that differ are written out, attributes that ``new`` lacks are dropped where they hold
    the default.

    Raises:
        Unsupported: another value, too many inputs, or an element type that ``new`` has not.
    """
    for name, spec in new.attributes.items():
        if name not in node.attributes and name in old.attributes:
            before, after = default(old.attributes[name]), default(spec)
            if before is not None and before != after:
                node.attributes[name] = ir.convenience.convert_attribute(name, before)
    for name in [name for name in node.attributes if name not in new.attributes]:
        held = node.attributes[name]
        if held.is_ref() or not _harmless(_plain(held), old.attributes.get(name)):
            raise refusal(node, f"attribute {name} = {held.value!r} is newer")
        del node.attributes[name]
    given = [value for value in node.inputs if value is not None]
    if len(node.inputs) > new.max_input and len(given) > new.max_input:
        raise refusal(node, f"it has {len(node.inputs)} inputs, then allowed are {new.max_input}")
    _check_types(node, node.inputs, new.inputs)
    _check_types(node, node.outputs, new.outputs)


def default(spec: onnx.defs.OpSchema.Attribute) -> Any:
    """The default of an attribute as a Python value, None where it has none."""
    found = spec.default_value
    if found.type == onnx.AttributeProto.UNDEFINED:
        return None
    value = onnx.helper.get_attribute_value(found)
    return value.decode() if isinstance(value, bytes) else value


def _plain(held: ir.Attr) -> Any:
    return held.as_string() if held.type is ir.AttributeType.STRING else held.value


def _harmless(value: Any, spec: onnx.defs.OpSchema.Attribute | None) -> bool:
    if spec is None:
        return False
    usual = default(spec)
    # Dilations have no default in the schema; ones are what their absence means.
    return bool(value == usual) or (
        usual is None and spec.name == "dilations" and set(value) <= {1}
    )


def _check_types(node: ir.Node, values: Any, formal: Any) -> None:
    for place, value in enumerate(values):
        if value is None or not isinstance(value.type, ir.TensorType) or not formal:
            continue
        allowed = formal[min(place, len(formal) - 1)].types
        kind = f"tensor({value.dtype.name.lower()})"
        if kind not in allowed and any(each.startswith("tensor") for each in allowed):
            raise refusal(node, f"{kind} is newer")
