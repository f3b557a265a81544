"""Find the dims of every value, as integers or expressions of the inputs' dims."""

from collections.abc import Iterator

import onnx_ir as ir

from modelkit.model import Model, const_of, dims
from modelkit.model.dims import Dim, parse
from modelkit.model.walk import ONNX, bodies
from modelkit.passes.changes import Changes
from modelkit.passes.symbols import contents, layouts, several, shapes, windows
from modelkit.passes.symbols.dtypes import dtype_of
from modelkit.passes.symbols.known import INTEGERS, MAX_ITEMS, Content, Known, Shape

SHAPES = {**shapes.RULES, **layouts.RULES, **windows.RULES}
CONTENT = "modelkit.content"
"""Key of ``ir.Value.meta`` under which the contents of a small integer tensor are kept."""

FOUND = "modelkit.shape"
"""Key of ``ir.Value.meta`` for the shape of a graph output, which keeps the one it is declared."""

MAX_RANK = 32


def infer_symbols(model: Model) -> Changes:
    """Write shapes and element types onto values, and contents of shape tensors into their meta.

    Equal symbolic names mean equal dims.  What a rule of the operator says goes before what the
    file states, whose names are kept only where the rule cannot tell.  Declared inputs and outputs
    of the model stay as they are.  Functions are skipped: their inputs have no shapes.  One visit
    a node.  ``count`` is the number of values that learned something; the graph does not change.
    """
    version = model.opset_imports.get("") or model.opset_imports.get("ai.onnx") or 0
    known = Known(version, _names(model.graph))
    learned = _visit(model.graph, known)
    return Changes(learned)


def content_of(value: ir.Value) -> Content | None:
    """What :func:`infer_symbols` found a shape tensor to hold."""
    found = value.meta.get(CONTENT)
    return found if isinstance(found, Content) else None


def shape_of(value: ir.Value) -> ir.Shape | None:
    """The shape of ``value``; of a graph output not as it is declared, but as it was found."""
    found = value.meta.get(FOUND) if value.is_graph_output() else None
    return found if isinstance(found, ir.Shape) else value.shape


def elements_of(value: ir.Value | None) -> tuple[Dim | None, ...] | None:
    """The elements of a shape tensor, constant or computed."""
    if value is None:
        return None
    array = const_of(value)
    if array is not None:
        return tuple(int(item) for item in array.reshape(-1))
    content = content_of(value)
    return None if content is None else content.items


def dim_of(dim: int | ir.SymbolicDim) -> Dim | None:
    """What a dim that :func:`infer_symbols` wrote says, None where it is unknown."""
    if isinstance(dim, int):
        return dim
    return parse(dim.value) if dim.value else None


def _names(graph: ir.Graph) -> set[str]:
    taken: set[str] = set()
    for value in _values(graph):
        if value.shape is not None:
            taken.update(dim.value for dim in value.shape if not isinstance(dim, int) and dim.value)
    return taken


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    for node in graph:
        yield from node.outputs
        for body in bodies(node):
            yield from _values(body)


def _visit(graph: ir.Graph, known: Known) -> int:
    learned = 0
    for node in graph:
        for body in bodies(node):
            _forget_names(body, known)
            learned += _visit(body, known)
        for position, shape in enumerate(_output_shapes(node, known)):
            learned += _note_type(node, position)
            learned += _note(node.outputs[position], shape, known)
        learned += _note_content(node, known)
    return learned


def _forget_names(body: ir.Graph, known: Known) -> None:
    # A name in a body may stand for another size in each round of its loop.
    for value in body.inputs:
        if value.shape is not None:
            known.shapes[value] = tuple(
                dim if isinstance(dim, int) else known.fresh() for dim in value.shape
            )


def _output_shapes(node: ir.Node, known: Known) -> list[Shape | None]:
    kind, count = node.op_type, len(node.outputs)
    found: list[Shape | None] | None = None
    if node.domain in ONNX:
        if kind in several.RULES and node.inputs:
            found = several.RULES[kind](node, known)
        elif kind in SHAPES and (
            kind == "Constant" or (node.inputs and node.inputs[0] is not None)
        ):
            found = [SHAPES[kind](node, known)]
    elif kind in several.CONTRIB_RULES and node.inputs:
        found = several.CONTRIB_RULES[kind](node, known)
    found = found or []
    return (found + [None] * count)[:count]


def _note(value: ir.Value, shape: Shape | None, known: Known) -> int:
    if shape is not None and (len(shape) > MAX_RANK or not all(map(_possible, shape))):
        shape = None
    stated = known.declared(value)
    if shape is None:
        shape = stated
    elif stated is not None and len(stated) == len(shape):
        shape = tuple(_better(a, b, known) for a, b in zip(shape, stated, strict=True))
    if shape is None:
        return 0
    known.shapes[value] = shape
    if value.const_value is not None or value.type is None:
        return 0
    written = [dim if isinstance(dim, int) else dims.text(dim) for dim in shape]
    if value.is_graph_output():
        value.meta[FOUND] = ir.Shape(written)
        return 0
    if value.shape is not None and list(_words(value.shape)) == written:
        return 0
    value.shape = ir.Shape(written)
    return 1


def _possible(dim: Dim) -> bool:
    return not isinstance(dim, int) or 0 <= dim < 2**62


def _words(shape: ir.Shape) -> Iterator[int | str | None]:
    for dim in shape:
        yield dim if isinstance(dim, int) else dim.value


def _better(found: Dim, stated: Dim, known: Known) -> Dim:
    """The found dim, unless it is only a fresh name and the file says more."""
    return stated if known.is_fresh(found) else found


def _note_type(node: ir.Node, position: int) -> int:
    value = node.outputs[position]
    if value.type is not None:
        return 0
    dtype = dtype_of(node, position)
    if dtype is None:
        return 0
    value.type = ir.TensorType(dtype)
    return 1


def _note_content(node: ir.Node, known: Known) -> int:
    rule = contents.RULES.get(node.op_type)
    if rule is None or node.domain not in ONNX or len(node.outputs) != 1:
        return 0
    value = node.outputs[0]
    if value.dtype not in INTEGERS or any(given is None for given in node.inputs[:2]):
        return 0
    found = rule(node, known)
    if found is not None and len(found.items) <= MAX_ITEMS:
        limit = 2**31 if value.dtype is ir.DataType.INT32 else 2**63
        found = Content(tuple(_within(item, limit) for item in found.items), found.scalar)
    else:
        found = None
    known.contents[value] = found
    if value.meta.get(CONTENT) == found:
        return 0
    value.meta[CONTENT] = found
    return 1


def _within(item: Dim | None, limit: int) -> Dim | None:
    return None if isinstance(item, int) and not -limit <= item < limit else item
