"""Read dims from the inputs of the graph, once each, instead of from values in the middle of it."""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of, fresh_name
from modelkit.model.dims import Dim, Symbolic, parse
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import content_of, dim_of
from modelkit.passes.surgery import initializer, is_onnx, replace
from modelkit.passes.symbols.known import Content

MAX_TERMS = 3
_SLICING = 15  # since this opset Shape gives a part of a shape
_INPUT_AXES = 13  # since this opset Unsqueeze has its axes as an input
_DIRECT = ("Add", "Concat", "Gather", "Shape", "Squeeze", "Unsqueeze")


def trace_dims(model: Model) -> Changes:
    """Let what is computed from shapes in the main graph be computed from its inputs' dims.

    Exporters ask activations for their shapes again in every layer, which keeps operators apart
    that could become one.  A tensor of which ``infer_symbols`` knows that it holds integers, dims
    of inputs and sums of those is put together anew, each tensor once.  Exact, as long as the
    inputs have the dims the model declares.  Graph outputs stay.
    """
    origins = _origins(model.graph)
    book = _Book(model, origins)
    count = 0
    for node in list(model.graph):
        content = _content(node)
        if content is None or book.adopts(node, content):
            continue
        made = book.value(content, node)
        if made is not None and made is not node.outputs[0] and replace(node.outputs[0], made):
            count += 1
    return Changes(count)


def _origins(graph: ir.Graph) -> dict[str, tuple[ir.Value, int]]:
    """For each name of a dim, the first input that has it, and where."""
    found: dict[str, tuple[ir.Value, int]] = {}
    for value in graph.inputs:
        for axis, dim in enumerate(value.shape or ()):
            if not isinstance(dim, int) and dim.value and value.const_value is None:
                found.setdefault(dim.value, (value, axis))
    return found


def _content(node: ir.Node) -> Content | None:
    value = node.outputs[0] if len(node.outputs) == 1 else None
    if value is None or value.dtype is not ir.DataType.INT64 or value.is_graph_output():
        return None
    content = content_of(value)
    if content is None or None in content.items or content.integers is not None:
        return None
    return content if value.uses() else None


@dataclass
class _Book:
    """The tensors of dims there are; what is made stands before the node that asks first."""

    model: Model
    origins: dict[str, tuple[ir.Value, int]]
    values: dict[Content, ir.Value] = field(default_factory=dict)

    def adopts(self, node: ir.Node, content: Content) -> bool:
        """Whether ``node`` makes its tensor in the way this book would, as the first to do so."""
        if content in self.values or not is_onnx(node, *_DIRECT):
            return False
        if node.op_type == "Shape" and self._is_shortest(node, content):
            self.values[content] = node.outputs[0]
            return True
        known = {id(value) for value in self.values.values()}
        for value in node.inputs:
            is_input = node.op_type == "Shape" and value in self.model.graph.inputs
            if not is_input and id(value) not in known and const_of(value) is None:
                return False
        self.values[content] = node.outputs[0]
        return True

    def _is_shortest(self, node: ir.Node, content: Content) -> bool:
        """Whether one Shape tells several dims together that would have to be read one by one."""
        if any(user.op_type in ("Gather", "Slice") for user, _ in node.outputs[0].uses()):
            return False
        names = [item for item in content.items if not isinstance(item, int)]
        return len(names) > 1 and not any(Content((name,)) in self.values for name in names)

    def value(self, content: Content, before: ir.Node) -> ir.Value | None:
        """The tensor that holds ``content``; None where inputs do not tell."""
        if content not in self.values:
            made = self._scalar(content, before) if content.scalar else self._list(content, before)
            if made is None:
                return None
            self.values[content] = made
        return self.values[content]

    def _scalar(self, content: Content, before: ir.Node) -> ir.Value | None:
        if isinstance(content.items[0], int):
            return self._constant(np.array(content.items[0], np.int64))
        vector = self.value(Content(content.items), before)
        return None if vector is None else self._node("Squeeze", [vector], before)

    def _list(self, content: Content, before: ir.Node) -> ir.Value | None:
        if len(content.items) == 1:
            return self._one(content.items[0], before)
        parts: list[ir.Value] = []
        numbers: list[int] = []
        for item in (*content.items, None):
            if isinstance(item, int):
                numbers.append(item)
                continue
            if numbers:
                parts.append(self._constant(np.array(numbers, np.int64)))
                numbers = []
            if item is not None:
                part = self.value(Content((item,)), before)
                if part is None:
                    return None
                parts.append(part)
        return self._node("Concat", parts, before, axis=0)

    def _one(self, dim: Dim | None, before: ir.Node) -> ir.Value | None:
        terms = dim.terms if isinstance(dim, Symbolic) else ()
        if not terms or len(terms) > MAX_TERMS:
            return None
        if any(factor != 1 or len(monomial) > 1 for monomial, factor in terms if monomial):
            return None
        scalar = self.values.get(Content((dim,), scalar=True))
        if scalar is not None:
            return self._unsqueezed(scalar, before)
        if len(terms) == 1:
            return self._read(terms[0][0][0], before)
        whole: ir.Value | None = None
        for monomial, factor in terms:
            item: Dim | None = parse(monomial[0]) if monomial else factor
            if isinstance(item, int):
                part: ir.Value | None = self._constant(np.array([item], np.int64))
            else:
                part = None if item is None else self.value(Content((item,)), before)
            if part is None:
                return None
            whole = part if whole is None else self._node("Add", [whole, part], before)
        return whole

    def _read(self, name: str, before: ir.Node) -> ir.Value | None:
        if name not in self.origins:
            return None
        source, axis = self.origins[name]
        if self._version() >= _SLICING:
            return self._node("Shape", [source], before, start=axis, end=axis + 1)
        whole = Content(tuple(dim_of(dim) for dim in source.shape or ()))
        shape = self.values.get(whole)
        if shape is None:
            shape = self.values[whole] = self._node("Shape", [source], before)
        index = self._constant(np.array([axis], np.int64))
        return self._node("Gather", [shape, index], before, axis=0)

    def _unsqueezed(self, scalar: ir.Value, before: ir.Node) -> ir.Value:
        if self._version() < _INPUT_AXES:
            return self._node("Unsqueeze", [scalar], before, axes=[0])
        axes = self._constant(np.array([0], np.int64))
        return self._node("Unsqueeze", [scalar, axes], before)

    def _version(self) -> int:
        imports = self.model.graph.opset_imports
        return imports.get("", imports.get("ai.onnx", 0))

    def _constant(self, array: np.ndarray) -> ir.Value:
        content = Content(tuple(array.reshape(-1).tolist()), scalar=array.ndim == 0)
        if content not in self.values:
            self.values[content] = initializer(self.model.graph, "dims", ir.tensor(array))
        return self.values[content]

    def _node(
        self, kind: str, inputs: list[ir.Value], before: ir.Node, **attributes: int | list[int]
    ) -> ir.Value:
        node = ir.node(kind, inputs, attributes)
        value = node.outputs[0]
        value.name = fresh_name(self.model.graph, f"{before.outputs[0].name}_{kind}")
        value.type = ir.TensorType(ir.DataType.INT64)
        node.name = value.name
        self.model.graph.insert_before(before, node)
        return value
