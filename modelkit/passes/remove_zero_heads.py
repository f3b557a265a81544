"""Remove attention heads that pruning has set to zero."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from modelkit.fusions import attention
from modelkit.model import Model, add_constant, const_of
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import is_onnx
from modelkit.rewrite import Expr, either, op
from modelkit.rewrite.fusion import Pattern
from modelkit.rewrite.match import Match, matches
from modelkit.rewrite.replace import Place, left_over

_SWAP = [0, 2, 1, 3]
_SCALES = ("q_scale", "k_scale", "scale", "q_divisor", "k_divisor", "divisor")

Bound = Mapping[str, ir.Value | None]


def remove_zero_heads(model: Model) -> Changes:
    """Narrow attention by the heads whose values are zero, or that the layer behind ignores.

    Attention as exporters write it: three linear layers split into heads, scores, softmax, a linear
    layer behind; the mask is the same for all heads.  Equal for finite values.  One head stays.
    """
    count, notes = 0, []
    inside = {id(function.graph) for function in model.functions.values()}
    for graph in graphs(model):
        if id(graph) in inside:
            continue
        for node in list(graph):
            removed = _narrowed(graph, node) if is_onnx(node, "MatMul") else 0
            if removed:
                notes.append(f"{removed} heads before '{node.name or node.outputs[0].name}'")
                count += 1
    return Changes(count, tuple(notes))


def _split(x: Expr, name: str) -> Expr:
    product = op.MatMul(x, Expr(name=f"{name}_weight"))
    biased = either(product + Expr(name=f"{name}_bias"), product)
    return op.Reshape(biased, Expr(name=f"{name}_shape")).named(f"{name}_heads")


def _patterns() -> tuple[Expr, ...]:
    q, k, v = (_split(Expr(name=name), name) for name in "qkv")
    turned = either(
        op.Transpose(k, perm=[0, 2, 3, 1]),
        op.Transpose(op.Transpose(k, perm=_SWAP), perm=[0, 1, 3, 2]),
    )
    parts = (op.Transpose(q, perm=_SWAP), turned, op.Transpose(v, perm=_SWAP))
    scales = [Expr(name=name) for name in _SCALES[:3]]
    made = (
        attention.masked(*parts, Expr(name="mask"), *scales),
        attention.unmasked(*parts, *scales),
    )
    return tuple(
        op.MatMul(
            op.Reshape(op.Transpose(each, perm=_SWAP), Expr(name="o_shape")).named("o_heads"),
            Expr(name="o_weight"),
        )
        for each in made
    )


_FOUND = _patterns()


def _narrowed(graph: ir.Graph, node: ir.Node) -> int:
    joined = node.inputs[0].producer() if node.inputs[0] is not None else None
    if joined is None or not is_onnx(joined, "Reshape"):
        return 0
    for pattern in _FOUND:
        for match in matches(pattern, node.outputs[0], Match()):
            # A match that others read values of would not stay the same for them.
            is_shared = any(left_over(Place(Pattern(pattern), match, node)))
            keep = None if is_shared else _kept(match.bound)
            if keep is not None:
                _cut(graph, match.bound, keep)
                return keep.size - int(keep.sum())
    return 0


def _kept(bound: Bound) -> np.ndarray | None:
    """For each head whether it stays; None where none goes, or not all is known."""
    heads = [bound[f"{name}_heads"] for name in "qkv"]
    shapes = {tuple(value.shape or ())[2:] for value in heads if value is not None}
    if len(shapes) != 1 or any(value is None or value.shape is None for value in heads):
        return None
    split = shapes.pop()
    if len(split) != 2 or not all(isinstance(dim, int) for dim in split):
        return None
    count, width = (int(dim) for dim in split)  # type: ignore[arg-type]
    if not _simple(bound, count, width):
        return None
    behind, values = _array(bound, "o_weight"), _array(bound, "v_weight")
    assert behind is not None
    assert values is not None
    used = behind.reshape(count, -1).any(axis=1)
    filled = values.reshape(-1, count, width).any(axis=(0, 2))
    bias = _array(bound, "v_bias")
    if bias is not None:
        filled |= bias.reshape(count, width).any(axis=1)
    keep = np.asarray(used & filled)
    if keep.all():
        return None
    keep[0] |= not keep.any()
    return keep


def _array(bound: Bound, name: str) -> np.ndarray | None:
    return const_of(bound.get(name))


def _simple(bound: Bound, count: int, width: int) -> bool:
    for name in ("q_weight", "k_weight", "v_weight", "o_weight"):
        value, array = bound[name], _array(bound, name)
        axis = 0 if name == "o_weight" else -1
        if value is None or array is None or array.ndim != 2 or len(value.uses()) > 1:
            return False
        if array.shape[axis] != count * width:
            return False
    for name in ("q_bias", "k_bias", "v_bias"):
        array = _array(bound, name)
        if bound.get(name) is not None and (array is None or array.shape != (count * width,)):
            return False
    for name in _SCALES:
        array = _array(bound, name)
        if bound.get(name) is not None and (array is None or array.size != 1):
            return False
    for name, place, wanted in (
        *((f"{part}_shape", 2, count) for part in "qkv"),
        ("o_shape", -1, count * width),
    ):
        array = _array(bound, name)
        if array is None or int(array[place]) not in (wanted, -1):
            return False
    mask = bound.get("mask")
    if mask is None:
        return True
    return mask.shape is not None and (len(mask.shape) < 3 or mask.shape[-3] == 1)


def _cut(graph: ir.Graph, bound: Bound, keep: np.ndarray) -> None:
    heads = bound["q_heads"]
    assert heads is not None
    assert heads.shape is not None
    columns = np.repeat(keep, int(heads.shape[3]))  # type: ignore[arg-type]
    for name in ("q_weight", "k_weight", "v_weight", "o_weight", "q_bias", "k_bias", "v_bias"):
        array = _array(bound, name)
        if array is not None:
            is_rows = name == "o_weight" or array.ndim == 1
            part = array[columns] if is_rows else array[:, columns]
            _replaced(graph, bound, name, part)
    for name, place, size in (
        *((f"{part}_shape", 2, int(keep.sum())) for part in "qkv"),
        ("o_shape", -1, int(columns.sum())),
    ):
        array, value = _array(bound, name), bound[name]
        assert array is not None
        assert value is not None
        if int(array[place]) != -1:
            changed = array.copy()
            changed[place] = size
            reader = _reader(bound, name)
            reader.replace_input_with(1, add_constant(graph, f"{value.name}_heads", changed))
    for node in {user for name in "qkv" for user in _between(bound, name)}:
        for value in node.outputs:
            value.shape = None


def _between(bound: Bound, name: str) -> list[ir.Node]:
    """The operators from a split to the layer behind; their shapes have to be found again."""
    found: list[ir.Node] = []
    value = bound[f"{name}_heads"]
    last = _reader(bound, "o_shape")
    node = None if value is None else value.producer()
    if node is not None and node.inputs[0] is not None:
        made = node.inputs[0].producer()
        found += [node] if made is None else [node, made]
    while value is not None:
        user = next(iter(value.uses()))[0]
        found.append(user)
        if user is last:
            break
        value = user.outputs[0]
    return found


def _reader(bound: Bound, name: str) -> ir.Node:
    """The Reshape whose shape is called ``name``."""
    made = bound[f"{name[0]}_heads"]
    node = None if made is None else made.producer()
    assert node is not None
    return node


def _replaced(graph: ir.Graph, bound: Bound, name: str, array: np.ndarray) -> None:
    value = bound[name]
    assert value is not None
    new = add_constant(graph, f"{value.name}_heads", np.ascontiguousarray(array))
    if not name.endswith("_bias"):
        value.replace_all_uses_with(new)
        return
    # Biases may be shared with other layers.
    flat = _reader(bound, f"{name[0]}_shape").inputs[0]
    adding = None if flat is None else flat.producer()
    assert adding is not None
    for place, operand in enumerate(adding.inputs):
        if operand is value:
            adding.replace_input_with(place, new)
