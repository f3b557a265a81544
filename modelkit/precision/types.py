"""The element type of every value, found from the operators' signatures.

Files state few types, some state wrong ones; a conversion that guesses one writes a graph that no
runtime opens.
"""

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import bodies
from modelkit.passes.surgery import attribute
from modelkit.runtime.signatures import Signature, signature

WIDE = frozenset((ir.DataType.FLOAT, ir.DataType.DOUBLE))
"""Types that become half; what a node keeps it keeps in its own of these."""

CONTROL = ("If", "Loop", "Scan")
TYPE_ATTRIBUTES = ("to", "dtype", "output_datatype", "output_dtype")
"""Attributes by which an operator says the type of its output."""

_FLOAT_UNLESS_SAID = ("RandomNormal", "RandomUniform", "ConstantOfShape", "SequenceEmpty",
                      "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix",
                      "LayerNormalization")  # fmt: skip
_TO_SEQUENCE = ("SplitToSequence", "SequenceConstruct")
_OF_SEQUENCE = ("SequenceAt", "ConcatFromSequence")


def settle_types(model: Model) -> None:
    """Write onto every value the type that its operator gives it.

    Where no signature tells, as for custom operators, the type stated in the file stays.
    """
    _visit(model.graph, versions_of(model))


def versions_of(model: Model) -> dict[str, int]:
    """Domain to opset, ai.onnx under ""."""
    found = dict(model.graph.opset_imports)
    found.setdefault("", found.get("ai.onnx", 1))
    return found


def signature_of(node: ir.Node, versions: dict[str, int]) -> Signature | None:
    """The signature of the node's operator, None for functions and custom operators."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    return signature(domain, node.op_type, versions.get(domain, 1))


def is_wide(value: ir.Value | None) -> bool:
    """Whether this is a tensor of float or double."""
    return value is not None and isinstance(value.type, ir.TensorType) and value.dtype in WIDE


def is_tensor(value: ir.Value | None) -> bool:
    """Whether this is a tensor, not a sequence or an optional."""
    return value is None or isinstance(value.type, ir.TensorType)


def text_of(kind: ir.TypeProtocol | None) -> str:
    """A type as schemas write it: ``tensor(float)``, ``seq(tensor(int64))``; "" if unknown."""
    if isinstance(kind, ir.TensorType):
        return f"tensor({kind.dtype.name.lower()})"
    if isinstance(kind, ir.SequenceType):
        return f"seq({text_of(kind.elem_type)})"
    if isinstance(kind, ir.OptionalType):
        return f"optional({text_of(kind.elem_type)})"
    return ""


def _visit(graph: ir.Graph, versions: dict[str, int]) -> None:
    for value in graph.initializers.values():
        if value.type is None and value.const_value is not None:
            value.type = ir.TensorType(value.const_value.dtype)
    for node in graph:
        for body in bodies(node):
            _enter(node, body)
            _visit(body, versions)
        for position, output in enumerate(node.outputs):
            found = _type_of(node, position, versions)
            if found is not None:
                output.type = found


def _enter(node: ir.Node, body: ir.Graph) -> None:
    """Give a loop's body the types of what the loop carries, where it states none."""
    skipped = 0 if node.op_type == "Scan" else 2
    given = node.inputs if node.op_type == "Scan" else (None, None, *node.inputs[2:])
    for inner, outer in zip(body.inputs[skipped:], given[skipped:], strict=False):
        if inner.type is None and outer is not None:
            inner.type = outer.type


def _type_of(node: ir.Node, position: int, versions: dict[str, int]) -> ir.TypeProtocol | None:
    if node.domain in ("", "ai.onnx"):
        special = _special(node, position)
        if special is not None:
            return special
    schema = signature_of(node, versions)
    formal = schema.output(position) if schema is not None else None
    if schema is None or formal is None:
        return None
    if len(formal.types) == 1:
        return _parsed(next(iter(formal.types)))
    for place, value in enumerate(node.inputs):
        other = schema.input(place)
        if value is None or value.type is None or other is None:
            continue
        if other.variable == formal.variable and formal.uniform and other.uniform:
            return value.type
    return None


def _special(node: ir.Node, position: int) -> ir.TypeProtocol | None:
    """Types that a signature does not tell: they stand in attributes, bodies or sequences."""
    kind = node.op_type
    if kind in CONTROL:
        return _carried(node, position)
    if kind == "Constant":
        tensor = ir.convenience.get_const_tensor(node.outputs[0])
        return None if tensor is None else ir.TensorType(tensor.dtype)
    if kind == "ConstantOfShape" and "value" in node.attributes:
        return ir.TensorType(node.attributes["value"].as_tensor().dtype)
    if kind in _TO_SEQUENCE and node.inputs and node.inputs[0] is not None:
        return None if node.inputs[0].type is None else ir.SequenceType(node.inputs[0].type)
    if kind in _OF_SEQUENCE and node.inputs and node.inputs[0] is not None:
        held = node.inputs[0].type
        return held.elem_type if isinstance(held, ir.SequenceType) else None
    return _stated(node, position)


def _stated(node: ir.Node, position: int) -> ir.TypeProtocol | None:
    kind = node.op_type
    if kind == "LayerNormalization" and position == 0:
        return None
    for name in TYPE_ATTRIBUTES:
        said = attribute(node, name)
        if said:
            return _tensor_or_sequence(kind, ir.DataType(said))
    if kind in _FLOAT_UNLESS_SAID:
        return _tensor_or_sequence(kind, ir.DataType.FLOAT)
    if kind == "QuantizeLinear" and (len(node.inputs) < 3 or node.inputs[2] is None):
        return ir.TensorType(ir.DataType.UINT8)
    follows = kind in ("EyeLike", "RandomNormalLike", "RandomUniformLike", "Bernoulli")
    if follows and node.inputs[0] is not None:
        return node.inputs[0].type
    return None


def _tensor_or_sequence(kind: str, dtype: ir.DataType) -> ir.TypeProtocol:
    tensor = ir.TensorType(dtype)
    return ir.SequenceType(tensor) if kind == "SequenceEmpty" else tensor


def _carried(node: ir.Node, position: int) -> ir.TypeProtocol | None:
    skipped = 1 if node.op_type == "Loop" else 0
    for body in bodies(node):
        if position + skipped < len(body.outputs):
            found = body.outputs[position + skipped].type
            if found is not None:
                return found
    return None


def _parsed(text: str) -> ir.TypeProtocol | None:
    """``tensor(float)`` as a type; None for what is not a tensor or sequence of tensors."""
    if text.startswith("seq(tensor(") and text.endswith("))"):
        inner = _parsed(text[4:-1])
        return None if inner is None else ir.SequenceType(inner)
    if not text.startswith("tensor(") or not text.endswith(")"):
        return None
    name = text[7:-1].upper()
    return ir.TensorType(ir.DataType[name]) if name in ir.DataType.__members__ else None
