"""What every kind of quantization does first: bring weights to light, and layers to one form."""

from modelkit.fusions import conv_batch_normalization
from modelkit.model import Model, clone
from modelkit.passes import run_passes
from modelkit.passes.convert_opset import convert_opset
from modelkit.passes.fold_constants import fold_constants
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.inline_functions import inline_functions
from modelkit.passes.join_parts import join_parts
from modelkit.passes.keep_paddings import keep_paddings
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.merge_chains import merge_chains
from modelkit.passes.remove_identity import remove_identity
from modelkit.passes.remove_unused import remove_unused
from modelkit.passes.restore_convolutions import restore_convolutions
from modelkit.passes.restore_recurrences import restore_recurrences
from modelkit.passes.unroll_einsums import unroll_einsums
from modelkit.quantize import island_activations, island_ends, island_residuals, islands
from modelkit.rewrite import apply, read_fusion

_PASSES = (
    restore_convolutions,
    inline_functions,
    remove_unused,
    lift_constants,
    infer_symbols,
    fold_constants,
    restore_recurrences,
    remove_identity,
    join_parts,
    keep_paddings,
    remove_unused,
)
_ISLANDS = (islands, island_activations, island_residuals, island_ends)
_ROUNDS = 100  # at most; each frees what stands behind it
_RAISED_OPSET = 13  # QuantizeLinear with one scale a channel


def prepared(model: Model, oldest_opset: int) -> Model:
    """A copy in which weights are constants, and linear layers linear layers.

    Folds what stands between a weight and its layer, inlines functions, merges normalizations into
    convolutions, turns 1x1 convolutions and Einsums that are linear layers back, loops that are
    recurrent layers into these, and raises an opset below ``oldest_opset``.

    Raises:
        Unsupported: an opset that cannot be raised.
    """
    copy = clone(model)
    if 0 < copy.graph.opset_imports.get("", 0) < oldest_opset:
        convert_opset(copy, _RAISED_OPSET)
    run_passes(copy, _PASSES)
    apply([read_fusion(conv_batch_normalization)], copy, allow=lambda fusion: None)
    for _ in range(_ROUNDS):
        found = [read_fusion(module) for module in _ISLANDS]
        if not apply(found, copy, allow=lambda fusion: None).changes:
            break
        # What cancels here brings the next layer to the front.
        run_passes(copy, (remove_unused, infer_symbols, merge_chains, remove_identity))
    unroll_einsums(copy)
    run_passes(copy, (remove_unused, infer_symbols))
    return copy
