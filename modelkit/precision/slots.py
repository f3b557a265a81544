"""Which inputs and outputs of a node become half when the node computes in half."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import bodies, inside
from modelkit.precision.kernels import without_kernel
from modelkit.precision.types import (
    CONTROL,
    is_tensor,
    is_wide,
    signature_of,
    text_of,
    versions_of,
)
from modelkit.runtime.signatures import Formal

_TYPED_BY_ATTRIBUTE = ("Cast",)


class Slot(Enum):
    """What happens to one input or output."""

    NONE = "it is no float tensor, or always float"
    NARROWS = "half when the node is"
    EITHER = "takes whatever is there"


@dataclass(frozen=True)
class Slots:
    """The slots of one node; ``obstacle`` says why none narrows although some are float."""

    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    obstacle: str = ""

    @property
    def narrows(self) -> bool:
        """Whether the node has two forms at all."""
        return Slot.NARROWS in (*self.inputs, *self.outputs)


def all_slots(model: Model, half: ir.DataType, target: str = "cuda") -> dict[ir.Node, Slots]:
    """The slots of every node, of bodies too; types must be settled.  Functions stay."""
    versions = versions_of(model)
    return {node: slots_of(node, half, versions, target) for node in inside(model.graph)}


def slots_of(
    node: ir.Node, half: ir.DataType, versions: dict[str, int], target: str = "cuda"
) -> Slots:
    """The slots of one node in a model of these opsets, as far as ``target`` has kernels."""
    if not any(is_wide(value) for value in (*node.inputs, *node.outputs)):
        return _untouched(node, "")
    if node.op_type in CONTROL and node.domain in ("", "ai.onnx"):
        return _control(node, half, versions)
    if node.op_type == "BitCast":
        return _untouched(node, "its bits are those of this very type")
    if node.domain in ("", "ai.onnx"):
        obstacle = without_kernel(node.op_type, half, versions[""], target)
        if obstacle:
            return _untouched(node, obstacle)
    schema = signature_of(node, versions)
    if schema is None:
        return _untouched(node, "nobody here knows which types it takes")
    if any(value is not None and value.type is None for value in node.inputs):
        return _untouched(node, "it reads a value of unknown type")
    if not all(map(is_tensor, (*node.inputs, *node.outputs))):
        return _untouched(node, "sequences and optionals keep their float elements")
    lacking = {
        formal.variable for formal, _ in _wide(node, half, versions) if not _takes(formal, half)
    }
    inputs = tuple(
        _slot(value, schema.input(place), lacking) for place, value in enumerate(node.inputs)
    )
    typed = 1 if node.op_type == "LayerNormalization" else len(node.outputs)
    outputs = tuple(
        # The statistics of a norm have the type that its attribute stash_type says.
        _slot(value, schema.output(place) if place < typed else None, lacking)
        for place, value in enumerate(node.outputs)
    )
    if Slot.NARROWS not in (*inputs, *outputs):
        return _untouched(node, _undefined(node, half, versions))
    return Slots(_either(node, inputs, outputs), outputs)


def _control(node: ir.Node, half: ir.DataType, versions: dict[str, int]) -> Slots:
    """If, Loop and Scan carry whatever their version allows."""
    schema = signature_of(node, versions)
    carried = schema.outputs[-1] if schema is not None and schema.outputs else None
    if carried is None or not _takes(carried, half):
        return _untouched(node, _undefined(node, half, versions))
    return Slots(
        tuple(Slot.NARROWS if is_wide(value) else Slot.NONE for value in node.inputs),
        tuple(Slot.NARROWS if is_wide(value) else Slot.NONE for value in node.outputs),
    )


def _undefined(node: ir.Node, half: ir.DataType, versions: dict[str, int]) -> str:
    opset = versions.get("" if node.domain == "ai.onnx" else node.domain, 1)
    return f"opset {opset} defines it without {half.name.lower()}"


def owners(model: Model) -> dict[ir.Graph, ir.Node]:
    """Each body to the node that carries it."""
    return {body: node for node in inside(model.graph) for body in bodies(node)}


def _wide(
    node: ir.Node, half: ir.DataType, versions: dict[str, int]
) -> Iterator[tuple[Formal, ir.Value]]:
    schema = signature_of(node, versions)
    assert schema is not None
    for place, value in enumerate(node.inputs):
        formal = schema.input(place)
        if is_wide(value) and value is not None and formal is not None:
            yield formal, value
    for place, value in enumerate(node.outputs):
        formal = schema.output(place)
        if is_wide(value) and formal is not None:
            yield formal, value


def _takes(formal: Formal, half: ir.DataType) -> bool:
    return text_of(ir.TensorType(half)) in formal.types


def _slot(value: ir.Value | None, formal: Formal | None, lacking: set[str]) -> Slot:
    if formal is None or not is_wide(value) or formal.variable in lacking:
        return Slot.NONE
    return Slot.NARROWS


def _either(node: ir.Node, inputs: tuple[Slot, ...], outputs: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """An input that is alone in being float is taken as it comes: no Cast stands before it."""
    alone = inputs.count(Slot.NARROWS) == 1 and not any(
        is_wide(value) for value, slot in zip(node.inputs, inputs, strict=True) if slot is Slot.NONE
    )
    free = node.op_type in _TYPED_BY_ATTRIBUTE or not any(map(is_wide, node.outputs))
    if alone and free and node.domain in ("", "ai.onnx"):
        return tuple(Slot.EITHER if slot is Slot.NARROWS else slot for slot in inputs)
    return inputs


def _untouched(node: ir.Node, obstacle: str) -> Slots:
    none = Slot.NONE
    return Slots(tuple(none for _ in node.inputs), tuple(none for _ in node.outputs), obstacle)
