"""Shapes of operators with more than one output: a rule gives one shape per output."""

from collections.abc import Callable

import onnx_ir as ir

from modelkit.model import dims
from modelkit.model.dims import Dim
from modelkit.passes.symbols.known import Known, Shape, option
from modelkit.rewrite.winograd import NAMES, OPEN, ROWS

Rule = Callable[[ir.Node, Known], list[Shape | None] | None]


def _all_as_first(node: ir.Node, known: Known) -> list[Shape | None] | None:
    return [known.shape(node.inputs[0])] * len(node.outputs)


def _split(node: ir.Node, known: Known) -> list[Shape | None] | None:
    shape, axis = known.shape(node.inputs[0]), option(node, "axis", 0)
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    sizes = _split_sizes(node, known, shape[axis])
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _split_sizes(node: ir.Node, known: Known, whole: Dim) -> list[Dim]:
    count = len(node.outputs)
    given = node.inputs[1] if len(node.inputs) > 1 else None
    sizes = known.integers(given) if given is not None else option(node, "split")
    if sizes is not None and len(sizes) == count:
        return list(sizes)
    even = dims.divide_exactly(whole, count) if given is None else None
    if even is not None:
        return [even] * count
    return [known.fresh() for _ in range(count)]


def _top_k(node: ir.Node, known: Known) -> list[Shape | None] | None:
    shape, axis = known.shape(node.inputs[0]), option(node, "axis", -1)
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    if len(node.inputs) > 1:
        content = known.content(node.inputs[1])
        count = None if content is None else content.items[0]
    else:
        count = option(node, "k")
    size = known.fresh() if count is None else count
    return [(*shape[:axis], size, *shape[axis + 1 :])] * len(node.outputs)


def _layer_norm(node: ir.Node, known: Known) -> list[Shape | None] | None:
    shape, axis = known.shape(node.inputs[0]), option(node, "axis", -1)
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    means = shape[:axis] + (1,) * (len(shape) - axis)
    return [shape, *[means] * (len(node.outputs) - 1)]


def _skip_layer_norm(node: ir.Node, known: Known) -> list[Shape | None] | None:
    shape = known.shape(node.inputs[0])
    return [shape if place in (0, 3) else None for place in range(len(node.outputs))]


def _recurrent(node: ir.Node, known: Known) -> list[Shape | None] | None:
    data, weights = known.shape(node.inputs[0]), known.shape(node.inputs[2])
    if data is None or weights is None or len(data) != 3 or option(node, "layout", 0):
        return None
    sequence, batch, _ = data
    states = (weights[0], batch, weights[2])
    return [(sequence, *states[:1], *states[1:]), *[states] * (len(node.outputs) - 1)]


def _unknown_norm(node: ir.Node, known: Known) -> list[Shape | None] | None:
    return [known.shape(node.inputs[0]), *[None] * (len(node.outputs) - 1)]


def _attention(node: ir.Node, known: Known) -> list[Shape | None] | None:
    query, key, value = (known.shape(part) for part in node.inputs[:3])
    if query is None or key is None or value is None or not len(query) == len(key) == len(value):
        return None
    if len(query) == 4:
        heads, groups = query[1], key[1]
        batch, rows, length, width, depth = query[0], query[2], key[2], key[3], value[3]
        first: Shape = (batch, heads, rows, depth)
    elif len(query) == 3:
        heads, groups = option(node, "q_num_heads", 0), option(node, "kv_num_heads", 0)
        parts = [None if not groups else dims.divide_exactly(x[2], groups) for x in (key, value)]
        if parts[0] is None or parts[1] is None:
            return None
        width, depth = parts[0], parts[1]
        whole = dims.multiply(depth, heads)
        batch, rows, length = query[0], query[1], key[1]
        first = (batch, rows, known.fresh() if whole is None else whole)
    else:
        return None
    past = known.shape(node.inputs[4]) if len(node.inputs) > 4 else (0, 0, 0, 0)
    total = None if past is None or len(past) != 4 else dims.add(past[2], length)
    total = known.fresh() if total is None else total
    caches: list[Shape | None] = [(batch, groups, total, width), (batch, groups, total, depth)]
    return [first, *caches, None]


def _heads_laid_flat(node: ir.Node, known: Known) -> list[Shape | None] | None:
    if len(node.inputs) < 3:  # queries, keys and values in one
        return None
    query, value = known.shape(node.inputs[0]), known.shape(node.inputs[2])
    if query is None or value is None or not len(query) == len(value) == 3:
        return None
    return [(*query[:2], value[2]), *[None] * (len(node.outputs) - 1)]


def _winograd(node: ir.Node, known: Known) -> list[Shape | None] | None:
    images, kernels = known.shape(node.inputs[0]), known.shape(node.inputs[1])
    if images is None or kernels is None:
        return None
    height = images[2]
    rows = height
    if node.op_type not in OPEN:
        rows = -(-height // ROWS) * ROWS if isinstance(height, int) else known.fresh()
    return [(images[0], kernels[0], rows, *images[3:])]


RULES: dict[str, Rule] = {
    "Attention": _attention, "RMSNormalization": _layer_norm, "RotaryEmbedding": _all_as_first,
    "BatchNormalization": _unknown_norm, "Dropout": _all_as_first, "GRU": _recurrent,
    "LSTM": _recurrent, "LayerNormalization": _layer_norm, "RNN": _recurrent, "Split": _split,
    "TopK": _top_k,
}  # fmt: skip
CONTRIB_RULES: dict[str, Rule] = {
    "MultiHeadAttention": _heads_laid_flat,
    "BiasGelu": _unknown_norm, "FastGelu": _unknown_norm, "Gelu": _unknown_norm,
    "QuickGelu": _unknown_norm, "SimplifiedLayerNormalization": _layer_norm,
    "SkipLayerNormalization": _skip_layer_norm,
    "SkipSimplifiedLayerNormalization": _skip_layer_norm,
    **dict.fromkeys(NAMES, _winograd),
}  # fmt: skip
