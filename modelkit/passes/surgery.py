"""Small cuts every pass makes: walk all graphs, re-point a value's readers, drop a dead node."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of, fresh_name
from modelkit.model.walk import ONNX, bodies, inside

RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
     "Bernoulli")
)  # fmt: skip


def is_onnx(node: ir.Node, *kinds: str) -> bool:
    """Whether ``node`` is one of these operators of the ONNX domain."""
    return node.op_type in kinds and node.domain in ONNX


def is_random(node: ir.Node) -> bool:
    """Whether two runs of ``node`` on the same inputs may differ."""
    if node.op_type in RANDOM:
        return True
    if is_onnx(node, "Dropout"):
        training = const_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else False
        return training is None or bool(training)
    return any(is_random(inner) for body in bodies(node) for inner in body)


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """The plain value of an attribute, or ``default``; a reference in a function has no value."""
    found = node.attributes.get(name)
    if found is None or found.is_ref():
        return default
    return found.as_string() if found.type is ir.AttributeType.STRING else found.value


def ints(node: ir.Node, position: int, name: str = "") -> list[int] | None:
    """Integers given by constant input ``position``, or by attribute ``name`` in older opsets."""
    value = node.inputs[position] if position < len(node.inputs) else None
    if value is not None:
        array = const_of(value)
        return None if array is None else [int(item) for item in array.reshape(-1)]
    found = attribute(node, name) if name else None
    return None if found is None else [int(item) for item in found]


def axes_of(node: ir.Node, length: int | None) -> list[int] | None:
    """The axes of a Squeeze or Unsqueeze, counted from the front of ``length``, in order."""
    found = ints(node, 1, "axes")
    if found is None or (length is None and any(axis < 0 for axis in found)):
        return None
    return sorted(axis + (length or 0) if axis < 0 else axis for axis in found)


def replace(old: ir.Value, new: ir.Value) -> bool:
    """Let every reader of ``old`` read ``new``; graph outputs keep their names.

    False, and nothing changed, where ``old`` is a graph output that ``new`` cannot stand for: an
    input, an initializer, a value of another graph, or an output already.
    """
    if old.is_graph_output():
        graph = old.graph
        maker = new.producer()
        if graph is None or maker is None or maker.graph is not graph or new.is_graph_output():
            return False
        name = old.name
        old.name, new.name = None, name
        keep_type(old, new, declared=True)
    else:
        keep_type(old, new)
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    return True


def keep_type(old: ir.Value, new: ir.Value, *, declared: bool = False) -> None:
    """Give ``new`` the type and shape of ``old`` where it has none, or where they are declared."""
    if new.type is None or (declared and old.type is not None):
        new.type = old.type
    if new.shape is None or (declared and old.shape is not None):
        new.shape = old.shape


def drop(node: ir.Node) -> None:
    """Remove a node whose outputs nobody reads any more; what its bodies read is let go of."""
    graph = node.graph
    assert graph is not None
    graph.remove(node, safe=True)
    for body in bodies(node):
        for inner in inside(body):
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def bypass(node: ir.Node, source: ir.Value) -> bool:
    """Remove a one-output node by letting its readers read ``source``; False where impossible."""
    if not replace(node.outputs[0], source):
        return False
    drop(node)
    return True


def initializer(graph: ir.Graph, stem: str, tensor: ir.TensorProtocol) -> ir.Value:
    """A new initializer of ``graph`` that holds ``tensor``, under a free name."""
    value = ir.Value(
        name=fresh_name(graph, stem),
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(list(tensor.shape)),  # type: ignore[arg-type]
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def constant(model: Model, graph: ir.Graph, stem: str, array: np.ndarray) -> ir.Value | None:
    """A new initializer of the main graph holding ``array``, which ``graph`` may read.

    None inside a function, which sees nothing from outside.
    """
    if any(graph is function.graph for function in model.functions.values()):
        return None
    return initializer(model.graph, stem, ir.tensor(array))


def rank(value: ir.Value | None) -> int | None:
    """How many axes a value has, where known."""
    return None if value is None or value.shape is None else len(value.shape)


def same_shape(a: ir.Value, b: ir.Value) -> bool:
    """Whether two values have provably equal shapes."""
    return a.shape is not None and b.shape is not None and same_dims(list(a.shape), list(b.shape))


def same_dims(a: Sequence[int | ir.SymbolicDim], b: Sequence[int | ir.SymbolicDim]) -> bool:
    """Whether two lists of dims are provably equal; equal names mean equal dims."""
    return len(a) == len(b) and all(
        x == y and (isinstance(x, int) or x.value is not None) for x, y in zip(a, b, strict=True)
    )
