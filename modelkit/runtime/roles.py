"""What an input means, guessed from its name, its type and what the graph does with it."""

from collections.abc import Iterator

import onnx_ir as ir

from modelkit.model import InputSpec, Model, const_of

# Operators behind which an index is still the same index.
_TRANSPARENT = {"Cast", "Reshape", "Unsqueeze", "Squeeze", "Identity", "Flatten", "Expand", "Clip"}
_DTYPES = {ir.DataType.STRING: "str", ir.DataType.BOOL: "bool"}
_DEEPEST = 12


def guessed_specs(model: Model) -> tuple[InputSpec, ...]:
    """An :class:`InputSpec` for each input that has no initializer of its own."""
    specs = []
    for value in model.graph.inputs:
        if value.name in model.graph.initializers or value.name is None:
            continue
        dtype = value.dtype or ir.DataType.FLOAT
        name = _DTYPES.get(dtype) or dtype.name.lower()
        name = {"float": "float32", "double": "float64"}.get(name, name)
        role = _role(value.name.lower(), name, value)
        rows = _indexed_rows(value)
        # Embeddings of Keras 2 take floats, which they make whole.
        role = "ids" if rows and "float" in name else role
        high = float(rows - 1) if rows else (1.0 if role == "token_types" else None)
        low = 0.0 if high is not None else None
        choices = _told_apart(value) if "int" in name else ()
        specs.append(InputSpec(value.name, name, _shape(value), role, low, high, choices=choices))
    return tuple(specs)


def _role(name: str, dtype: str, value: ir.Value) -> str:
    rank = len(value.shape) if value.shape is not None else 0
    if "past" in name or "cache" in name:
        return "past"
    if "mask" in name and dtype != "float32":
        return "mask"
    if "token_type" in name or "segment" in name:
        return "token_types"
    if "position" in name and "int" in dtype:
        return "positions"
    if "int" in dtype:
        return "ids"
    if rank == 4:
        return "pixels"
    return "float" if "float" in dtype else "other"


def _shape(value: ir.Value) -> tuple[int | str, ...]:
    if value.shape is None:
        return ()
    return tuple(
        dim if isinstance(dim, int) else (dim.value or f"{value.name}_{axis}")
        for axis, dim in enumerate(value.shape)
    )


def _indexed_rows(value: ir.Value) -> int | None:
    """Rows of the smallest table that ``value`` indexes through Gather on axis 0."""
    rows: list[int] = []
    for node, position in _uses(value):
        if node.op_type == "Gather" and position == 1:
            table = node.inputs[0]
            axis = node.attributes.get_int("axis", 0)
            if table is not None and table.shape is not None and len(table.shape) > (axis or 0):
                length = table.shape[axis or 0]
                rows += [length] if isinstance(length, int) else []
    return min(rows) if rows else None


def _told_apart(value: ir.Value) -> tuple[int, ...]:
    """The numbers that ``value`` is compared with: rates, modes; smallest first."""
    found: set[int] = set()
    for node, position in _uses(value):
        if node.op_type == "Equal":
            array = const_of(node.inputs[1 - position])
            if array is not None and array.size == 1:
                found.add(int(array.item()))
    return tuple(sorted(found))


def _uses(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """The nodes that take ``value``, also behind operators that leave its numbers, and where."""
    seen = {value}
    waiting = [(value, 0)]
    while waiting:
        current, depth = waiting.pop()
        for node, position in current.uses():
            yield node, position
            if node.op_type in _TRANSPARENT and position == 0 and depth < _DEEPEST:
                waiting += [(out, depth + 1) for out in node.outputs if out not in seen]
                seen.update(node.outputs)
