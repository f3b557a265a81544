"""Fuse the embeddings of words, positions and segments into EmbedLayerNormalization.

Why: on GPUs three lookups, two sums and a normalization become one kernel.
Equal: up to float rounding.
"""

import onnx_ir as ir

from modelkit.fusions.skip_layer_normalization import MICROSOFT, epsilon
from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "all"
ORDER = 25
_OUTPUTS = 2  # the second counts the words each mask leaves, and must be there
_IDS = (ir.DataType.INT32, ir.DataType.INT64)


def of_three(
    words: Expr,
    ids: Expr,
    positions: Expr,
    places: Expr,
    kinds: Expr,
    segments: Expr,
    scale: Expr,
    shift: Expr,
) -> Expr:
    word, place = op.Gather(words, ids).named("word"), op.Gather(positions, places).named("place")
    kind = op.Gather(kinds, segments).named("kind")
    total = either((word + kind) + place, (word + place) + kind, word + (place + kind))
    return op.LayerNormalization(total, scale, shift).named("norm")


def of_two(words: Expr, ids: Expr, positions: Expr, places: Expr, scale: Expr, shift: Expr) -> Expr:
    word, place = op.Gather(words, ids).named("word"), op.Gather(positions, places).named("place")
    return op.LayerNormalization(word + place, scale, shift).named("norm")


before = (of_three, of_two)


def when(
    words: Capture,
    ids: Capture,
    positions: Capture,
    places: Capture,
    kinds: Capture,
    segments: Capture,
    word: Capture,
    place: Capture,
    kind: Capture,
    norm: Capture,
    shift: Capture,
) -> str | None:
    for table in (words, positions, kinds):
        if table.value is not None and not _is_table(table):
            return "a table is not a constant float matrix"
    if any(lookup.attrs.get("axis", 0) for lookup in (word, place, kind)):
        return "a lookup is not along the first axis"
    if shift.value is None:
        return "it has no shift"
    if norm.attrs.get("axis", -1) not in (-1, 2):
        return "it is not over the last axis"
    if ids.dtype not in _IDS or ids.shape is None or len(ids.shape) != 2 or None in ids.shape:
        return "its indices are not known to be a matrix of integers"
    if segments.value is not None and segments.shape != ids.shape:
        return "words and segments are not known to have the same shape"
    if places.shape is None or places.shape not in (ids.shape, (1, ids.shape[1])):
        return "words and positions are not known to have the same length"
    # The kernel looks neither for negative indices nor, on GPUs, for those beyond the table.
    first = positions.shape[0] if positions.shape else None
    length = ids.shape[1]
    if isinstance(first, int) and isinstance(length, int) and length > first:
        return "there are more positions than rows in their table"
    return None


def _is_table(table: Capture) -> bool:
    return (
        table.is_constant
        and table.shape is not None
        and len(table.shape) == 2
        and table.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16)
    )


def after(
    words: Capture,
    ids: Capture,
    positions: Capture,
    places: Capture,
    kinds: Capture,
    segments: Capture,
    scale: Capture,
    shift: Capture,
    norm: Capture,
) -> Expr:
    absent = kinds.value is None
    made = op.EmbedLayerNormalization(
        _int32(ids),
        None if absent else _int32(segments),
        words,
        positions,
        None if absent else kinds,
        scale,
        shift,
        None,
        _int32(places),
        _domain=MICROSOFT,
        epsilon=epsilon(norm),
    )
    return op.several(_OUTPUTS, made)[0]


def _int32(ids: Capture) -> Expr:
    return ids if ids.dtype is ir.DataType.INT32 else op.Cast(ids, to=ir.DataType.INT32.value)
