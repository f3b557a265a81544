"""Rewrite a model so that every node that may computes in half, with the fewest casts between.

Each float value has one type where it is made and one at each place where it is read; a Cast
stands where they differ, right behind the maker, once however many read it.  Weights take no Cast:
they are stored in the type that is read.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import ONNX, graphs, nested
from modelkit.passes.surgery import bypass, is_onnx
from modelkit.precision.narrow import narrowed
from modelkit.precision.slots import Slot, Slots, all_slots, owners
from modelkit.precision.types import CONTROL, is_wide

LARGE_BYTES = 1 << 16
"""A weight of more than this that is read in both types is stored in half, and widened at run."""

_DTYPE_ATTRIBUTE = {
    "Cast": "to",
    "RandomNormal": "dtype",
    "RandomUniform": "dtype",
    "RandomNormalLike": "dtype",
    "RandomUniformLike": "dtype",
    "Bernoulli": "dtype",
    "EyeLike": "dtype",
    "HannWindow": "output_datatype",
    "HammingWindow": "output_datatype",
    "BlackmanWindow": "output_datatype",
    "MelWeightMatrix": "output_datatype",
}
Use = tuple[ir.Node, int] | tuple[ir.Graph, int]


@dataclass(frozen=True)
class Types:
    """Who computes in which type; built once, before the graph changes."""

    half: ir.DataType
    slots: dict[ir.Node, Slots]
    keep: Collection[ir.Node]
    owners: dict[ir.Graph, ir.Node]
    half_io: bool = False

    def in_half(self, node: ir.Node) -> bool:
        """Whether ``node`` computes in half."""
        return node not in self.keep and self.slots[node].narrows

    def made_half(self, value: ir.Value) -> bool:
        """Whether a float value that is no constant comes in half."""
        maker = value.producer()
        if maker is not None:
            place = maker.outputs.index(value)
            return self.in_half(maker) and self.slots[maker].outputs[place] is Slot.NARROWS
        owner = self.owners.get(value.graph) if value.graph is not None else None
        return self.half_io if owner is None else self.in_half(owner)

    def wants(self, use: Use) -> ir.DataType | None:
        """``half``, FLOAT for a value's own wide type, None where either will do."""
        user, place = use
        if isinstance(user, ir.Node):
            slot = self.slots[user].inputs[place]
            if slot is Slot.EITHER:
                return None
            narrow = slot is Slot.NARROWS and self.in_half(user)
        else:
            owner = self.owners.get(user)
            narrow = self.half_io if owner is None else self.in_half(owner)
        return self.half if narrow else ir.DataType.FLOAT


@dataclass(frozen=True)
class Converted:
    """What a conversion did: nodes in half, casts put in and taken out.

    ``cast_values`` are the names, before the conversion, of the values that casts read.
    """

    in_half: int
    casts_added: int
    casts_removed: int
    cast_values: tuple[str, ...] = ()


def types_of(
    model: Model,
    half: ir.DataType,
    keep: Collection[ir.Node] = (),
    *,
    half_io: bool = False,
    target: str = "cuda",
) -> Types:
    """The types of a conversion that leaves the nodes in ``keep`` as they are."""
    return Types(half, all_slots(model, half, target), keep, owners(model), half_io)


def uses_of(value: ir.Value, outputs: dict[ir.Value, list[Use]]) -> list[Use]:
    """Every place that reads ``value``, graph outputs too."""
    return [*((use.node, use.idx) for use in value.uses()), *outputs.get(value, ())]


def output_uses(model: Model) -> dict[ir.Value, list[Use]]:
    """Values that leave their graph, and where."""
    found: dict[ir.Value, list[Use]] = {}
    for graph in graphs(model):
        for place, value in enumerate(graph.outputs):
            found.setdefault(value, []).append((graph, place))
    return found


def convert(model: Model, types: Types) -> Converted:
    """Give every value its type and put in the casts, in place."""
    work = _Work(model, types)
    for value in list(_wide_values(model)):
        if value.const_value is not None and not value.is_graph_input():
            work.store(value)
        else:
            work.carry(value)
    in_half = [node for node in types.slots if types.in_half(node)]
    for node in in_half:
        _retarget(node, types)
    removed = sum(_remove_idle_casts(graph) for graph in graphs(model))
    return Converted(len(in_half), len(work.cast), removed, tuple(work.cast))


class _Work:
    """The graph under change: names in use, readers that are graph outputs, casts so far."""

    def __init__(self, model: Model, types: Types) -> None:
        self.model = model
        self.types = types
        self.outputs = output_uses(model)
        self.cast: list[str] = []
        self.names = {value.name for value in _all_values(model)}

    def store(self, value: ir.Value) -> None:
        """Keep a weight in the type that is read."""
        half = self.types.half
        uses = uses_of(value, self.outputs)
        narrow = [use for use in uses if self.types.wants(use) is half]
        wide = [use for use in uses if self.types.wants(use) is ir.DataType.FLOAT]
        tensor = value.const_value
        assert tensor is not None
        if not narrow:
            return
        if wide and (tensor.nbytes < LARGE_BYTES or self.outputs.get(value)):
            self._store_twin(value, tensor, narrow)
            return
        kind = value.type
        value.const_value = narrowed(tensor, half)
        value.type = ir.TensorType(half)
        if wide:
            assert isinstance(kind, ir.TensorType)
            self._cast(value, kind.dtype, wide)

    def carry(self, value: ir.Value) -> None:
        """Cast an input or computed value for those who read it in the other type."""
        half = self.types.half
        made_half = self.types.made_half(value)
        uses = uses_of(value, self.outputs)
        other = ir.DataType.FLOAT if made_half else half
        differing = [use for use in uses if self.types.wants(use) is other]
        own = value.dtype
        assert own is not None
        if made_half:
            value.type = ir.TensorType(half)
        if differing:
            self._cast(value, own if made_half else half, differing)

    def _store_twin(self, value: ir.Value, tensor: ir.TensorProtocol, narrow: list[Use]) -> None:
        name = self._name(f"{value.name}_{self.types.half.short_name()}")
        graph = value.graph
        assert isinstance(graph, ir.Graph)
        twin = ir.Value(
            name=name,
            shape=value.shape,
            type=ir.TensorType(self.types.half),
            const_value=narrowed(tensor, self.types.half),
        )
        graph.register_initializer(twin)
        self._repoint(twin, narrow)

    def _cast(self, value: ir.Value, to: ir.DataType, uses: list[Use]) -> None:
        graph = value.graph
        assert isinstance(graph, ir.Graph)
        self.cast.append(value.name or "")
        node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", to.value)])
        made = node.outputs[0]
        made.name = self._name(f"{value.name}_{to.short_name()}")
        node.name = self._name(f"Cast_{made.name}")
        made.type, made.shape = ir.TensorType(to), value.shape
        place_after(graph, value, node)
        self._repoint(made, uses)
        leaves = any(not isinstance(user, ir.Node) for user, _ in uses)
        if leaves and value.producer() is not None and self.types.owners.get(graph) is None:
            value.name, made.name = made.name, value.name

    def _repoint(self, new: ir.Value, uses: list[Use]) -> None:
        for user, place in uses:
            if isinstance(user, ir.Node):
                user.replace_input_with(place, new)
            else:
                user.outputs[place] = new

    def _name(self, stem: str) -> str:
        name, number = stem, 0
        while name in self.names:
            number += 1
            name = f"{stem}_{number}"
        self.names.add(name)
        return name


def place_after(graph: ir.Graph, value: ir.Value, node: ir.Node) -> None:
    """Put ``node`` right behind the maker of ``value``, or first in the graph."""
    maker = value.producer()
    if maker is not None:
        graph.insert_after(maker, node)
    elif len(graph):
        graph.insert_before(graph.node(0), node)
    else:
        graph.append(node)


def _all_values(model: Model) -> Iterator[ir.Value]:
    """Every value once: the graph's and those of bodies; functions are left alone."""
    for graph in dict.fromkeys(nested(model.graph)):
        own = [*graph.inputs, *graph.initializers.values()]
        yield from dict.fromkeys(own)
        for node in graph:
            yield from node.outputs


def _wide_values(model: Model) -> Iterator[ir.Value]:
    return (value for value in _all_values(model) if is_wide(value))


def _retarget(node: ir.Node, types: Types) -> None:
    """Let a node whose attributes name the type of its output name half."""
    if node.domain not in ONNX or Slot.NARROWS not in types.slots[node].outputs:
        return
    kind = node.op_type
    if kind in _DTYPE_ATTRIBUTE:
        name = _DTYPE_ATTRIBUTE[kind]
        node.attributes[name] = ir.AttrInt64(name, types.half.value)
    elif kind == "ConstantOfShape":
        held = node.attributes.get("value")
        tensor = held.as_tensor() if held is not None else _zero()
        node.attributes["value"] = ir.AttrTensor("value", narrowed(tensor, types.half))
    elif kind == "Constant":
        found = ir.convenience.get_const_tensor(node.outputs[0])
        if found is not None:
            node.attributes.clear()
            node.attributes["value"] = ir.AttrTensor("value", narrowed(found, types.half))


def _zero() -> ir.TensorProtocol:
    import numpy as np

    return ir.tensor(np.zeros(1, np.float32))


def _remove_idle_casts(graph: ir.Graph) -> int:
    removed = 0
    for node in list(graph):
        source = node.inputs[0] if node.inputs else None
        if not is_onnx(node, "Cast") or source is None:
            continue
        same = text(source) == text(node.outputs[0])
        if same and isinstance(source.type, ir.TensorType) and bypass(node, source):
            removed += 1
    return removed


def text(value: ir.Value) -> str:
    """The element type of a value, "" if unknown."""
    return "" if value.dtype is None else value.dtype.name


__all__ = ["CONTROL", "Converted", "Types", "convert", "place_after", "types_of"]
