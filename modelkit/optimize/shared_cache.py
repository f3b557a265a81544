"""Let a decoder write its keys and values into the buffers they came in, instead of copying them.

Why: with a cache that grows, every step copies all of it; with a long past that is most of a step.
Each past input becomes a buffer of a fixed number of places, of which ``total - tokens`` hold
something, and the present output is the same buffer with the new places filled.  Equal: the other
outputs, and the filled places, are up to rounding what they were.  Bound to the same memory nothing
is copied; left unbound, the runtime copies the buffer and computes the same.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from modelkit.errors import Unsupported
from modelkit.model import Model, SharedCache, add_constant, clone, fresh_name, write_cache
from modelkit.passes import run_passes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.surgery import is_onnx
from modelkit.runtime.roles import guessed_specs

_HINT = "export it with key and value caches as inputs and outputs, and run `optimize` on it first"
_PAST = (4, 5)
_MASKS = (ir.DataType.FLOAT, ir.DataType.BOOL)
_PLAIN = {"is_causal": 0, "softcap": 0.0, "qk_matmul_output_mode": 0}


def share_cache(
    model: Model, scales: Mapping[str, Sequence[float]] | None = None
) -> tuple[Model, SharedCache]:
    """A copy of ``model`` whose caches are buffers; it must hold Attention with a past.

    With ``scales``, those of the channels [heads * width] of each past, caches are kept in int8.

    Raises:
        Unsupported: it has no such Attention, one of a form that GroupQueryAttention does not know,
            a cache that something else reads, or no mask that says how much of it is filled.
    """
    copy = clone(model)
    run_passes(copy, (lift_constants, infer_symbols))
    nodes = [node for node in copy.graph if is_onnx(node, "Attention") and _past(node)]
    if not nodes:
        raise _unfit("no Attention in it takes a past and gives a present", _HINT)
    mask, tokens = _guides(copy)
    pairs = [pair for node in nodes for pair in _pairs(node)]
    if len(dict(pairs)) < len(pairs):
        raise _unfit("two layers read one cache")
    maker = _Maker(copy.graph)
    filled = maker.lengths(mask, tokens)
    for name in {past for past, _ in pairs}:
        _let_shapes_see(copy.graph, name, filled, maker)
    for node in nodes:
        maker.replace(node, scales or {})
    _retype(copy, pairs, ir.DataType.INT8 if scales else ir.DataType.FLOAT)
    copy.graph.opset_imports.setdefault("com.microsoft", 1)
    copy.graph.sort()
    cache = SharedCache(
        {present: past for past, present in pairs},
        mask.name or "",
        tokens.name or "",
        {past: tuple(scales[past]) for past, _ in pairs} if scales else {},
    )
    write_cache(copy, cache)
    return copy, cache


def _past(node: ir.Node) -> bool:
    return len(node.inputs) > _PAST[1] and all(node.inputs[at] is not None for at in _PAST)


def _unfit(cause: str, hint: str = "leave its cache as it is") -> Unsupported:
    return Unsupported(
        "its cache cannot be shared between input and output",
        cause=cause,
        hint=hint,
        code="no-shared-cache",
    )


def _guides(model: Model) -> tuple[ir.Value, ir.Value]:
    """The mask over past and new tokens, and the tokens."""
    inputs = {value.name: value for value in model.graph.inputs}
    roles = {spec.role: inputs[spec.name] for spec in reversed(guessed_specs(model))}
    mask, tokens = roles.get("mask"), roles.get("ids")
    if mask is None or mask.shape is None or len(mask.shape) != 2:
        raise _unfit("no mask [batch, total] says how much of the cache is filled")
    if tokens is None or tokens.shape is None or len(tokens.shape) != 2:
        raise _unfit("no input holds the new tokens [batch, tokens]")
    return mask, tokens


def _pairs(node: ir.Node) -> list[tuple[str, str]]:
    """(past, present) of keys and of values.

    Raises:
        Unsupported: the node has a form that GroupQueryAttention does not know.
    """
    name = node.name or "Attention"
    for key, plain in _PLAIN.items():
        found = node.attributes.get(key)
        if found is not None and found.value != plain:
            raise _unfit(f"{name} has {key} {found.value}")
    if len(node.inputs) > 6 and node.inputs[6] is not None:
        raise _unfit(f"{name} reads how many keys are not padding")
    if not node.attributes.get_int("q_num_heads", 0):
        raise _unfit(f"{name} reads queries of four axes", _HINT)
    if node.inputs[3] is None or node.inputs[3].dtype not in _MASKS:
        raise _unfit(f"{name} has no mask of float32 or bool")
    pairs = []
    for at, value in zip(_PAST, node.outputs[1:3], strict=True):
        past = node.inputs[at]
        assert past is not None
        if not past.is_graph_input() or not value.is_graph_output() or list(value.uses()):
            raise _unfit(f"the cache of {name} is not an input and an output of the model")
        if past.dtype != ir.DataType.FLOAT:
            raise _unfit(f"the cache of {name} is not float32")
        pairs.append((past.name or "", value.name or ""))
    return pairs


class _Maker:
    """Makes nodes at the front of a graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._seqlens: tuple[ir.Value, ir.Value] | None = None
        self._biases: dict[ir.Value, ir.Value] = {}

    def make(self, op: str, inputs: Sequence[ir.Value | None], **attributes: object) -> ir.Value:
        node = ir.node(op, inputs, attributes)
        node.name = fresh_name(self._graph, f"cache_{op}")
        node.outputs[0].name = fresh_name(self._graph, f"cache_{op}_out")
        self._graph.append(node)
        return node.outputs[0]

    def constant(self, values: Sequence[int] | int, kind: type = np.int64) -> ir.Value:
        return add_constant(self._graph, "cache_constant", np.array(values, kind))

    def lengths(self, mask: ir.Value, tokens: ir.Value) -> ir.Value:
        """[1]: how many places of the cache are filled; also what GroupQueryAttention asks for."""
        total = self.make("Shape", [mask], start=1, end=2)
        batch = self.make("Shape", [mask], start=0, end=1)
        last = self.make("Sub", [total, self.constant([1])])
        narrow = self.make("Cast", [last], to=ir.DataType.INT32.value)
        one = self.make("Squeeze", [total, self.constant([0])])
        whole = self.make("Cast", [one], to=ir.DataType.INT32.value)
        self._seqlens = (self.make("Expand", [narrow, batch]), whole)
        return self.make("Sub", [total, self.make("Shape", [tokens], start=1, end=2)])

    def replace(self, node: ir.Node, scales: Mapping[str, Sequence[float]]) -> None:
        """Put GroupQueryAttention in the place of ``node``."""
        assert self._seqlens is not None
        attributes: dict[str, int | float | str] = {
            "num_heads": node.attributes.get_int("q_num_heads", 0),
            "kv_num_heads": node.attributes.get_int("kv_num_heads", 0),
        }
        scale = node.attributes.get("scale")
        if scale is not None:
            attributes["scale"] = scale.as_float()
        query, key, value, bias = node.inputs[:4]
        past = [node.inputs[at] for at in _PAST]
        inputs = [query, key, value, *past, *self._seqlens, None, None, None, self._bias(bias)]
        if scales:
            attributes |= {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL"}
            attributes["kv_cache_bit_width"] = 8
            inputs += [None, *(self._scales(value, scales) for value in past)]
        made = ir.node(
            "GroupQueryAttention", inputs, attributes, domain="com.microsoft", num_outputs=3
        )
        made.name = node.name
        self._graph.insert_before(node, made)
        for old, new in zip(node.outputs, made.outputs, strict=False):
            name = old.name
            new.shape, new.type = old.shape, old.type
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            old.name, new.name = fresh_name(self._graph, f"{name}_before"), name
        self._graph.remove(node, safe=True)

    def _bias(self, mask: ir.Value | None) -> ir.Value | None:
        """What is added to the scores: of a mask of bool, nothing where it lets keys be seen.

        It is the lowest number elsewhere, as Attention has it.
        """
        if mask is None or mask.dtype != ir.DataType.BOOL:
            return mask
        if mask not in self._biases:
            values = (0, np.finfo(np.float32).min)
            seen, unseen = (
                add_constant(self._graph, "cache_constant", np.array(value, np.float32))
                for value in values
            )
            bias = self._biases[mask] = self.make("Where", [mask, seen, unseen])
            bias.shape, bias.dtype = mask.shape, ir.DataType.FLOAT
        return self._biases[mask]

    def _scales(self, past: ir.Value | None, scales: Mapping[str, Sequence[float]]) -> ir.Value:
        assert past is not None
        assert past.shape is not None
        dims = (1, past.shape[1], 1, past.shape[3])
        array = np.array(scales[past.name or ""], np.float32).reshape(dims)  # type: ignore[arg-type]
        return add_constant(self._graph, f"{past.name}_scale", array)


def _let_shapes_see(graph: ir.Graph, name: str, filled: ir.Value, maker: _Maker) -> None:
    """What asks for the length of a cache gets how much of it is filled.

    Raises:
        Unsupported: something else reads the cache.
    """
    past = next(value for value in graph.inputs if value.name == name)
    for user, _ in list(past.uses()):
        if is_onnx(user, "Attention"):
            continue
        if not is_onnx(user, "Shape") or user.graph is not graph:
            raise _unfit(f"{user.op_type} '{user.name}' reads the cache too")
        start = user.attributes.get_int("start", 0) or 0
        end = user.attributes.get_int("end", 4)
        axes = list(range(4))[start : 4 if end is None else end]
        if 2 not in axes:
            continue
        parts = [
            filled if axis == 2 else maker.make("Shape", [past], start=axis, end=axis + 1)
            for axis in axes
        ]
        seen = parts[0] if len(parts) == 1 else maker.make("Concat", parts, axis=0)
        if seen is filled:
            seen = maker.make("Identity", [filled])
        ir.convenience.replace_all_uses_with(user.outputs[0], seen)
        graph.remove(user, safe=True)


def _retype(model: Model, pairs: Sequence[tuple[str, str]], kind: ir.DataType) -> None:
    """The length of a buffer is an axis of its own, the same on its way in and out."""
    ends = {value.name: value for value in (*model.graph.inputs, *model.graph.outputs)}
    for pair in pairs:
        for name in pair:
            shape = ends[name].shape
            assert shape is not None
            dims: list[int | ir.SymbolicDim] = list(shape)
            dims[2] = ir.SymbolicDim("places")
            ends[name].shape = ir.Shape(dims)
            ends[name].type = ir.TensorType(kind)
