"""Passes over a model: one file each, and the order in which each level runs them.

A level is a promise, not an effort.  ``basic`` is exact or differs by rounding only, keeps the
opset and uses standard operators; ``extended`` adds fusions into standard operators; ``all`` adds
whatever the target runs fastest.
"""

from collections.abc import Callable, Sequence

from modelkit import progress
from modelkit.model import Model
from modelkit.passes.changes import Changes
from modelkit.passes.columns_as_rows import columns_as_rows
from modelkit.passes.distinguish_dims import distinguish_dims
from modelkit.passes.drop_unit_axes import drop_unit_axes
from modelkit.passes.fill_channels import fill_channels
from modelkit.passes.flush_denormals import flush_denormals
from modelkit.passes.fold_constants import fold_constants
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.inline_functions import inline_functions
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.merge_chains import merge_chains
from modelkit.passes.merge_concats import merge_concats
from modelkit.passes.read_uniform import read_uniform
from modelkit.passes.read_whole import read_whole
from modelkit.passes.remove_dead_branches import remove_dead_branches
from modelkit.passes.remove_default_inputs import remove_default_inputs
from modelkit.passes.remove_expands import remove_expands
from modelkit.passes.remove_identity import remove_identity
from modelkit.passes.remove_unused import remove_unused
from modelkit.passes.remove_zero_channels import remove_zero_channels
from modelkit.passes.remove_zero_heads import remove_zero_heads
from modelkit.passes.restore_batch_axes import restore_batch_axes
from modelkit.passes.restore_recurrences import restore_recurrences
from modelkit.passes.select_early import select_early
from modelkit.passes.settle_reshapes import settle_reshapes
from modelkit.passes.settle_weights import settle_weights
from modelkit.passes.shape_to_constant import shape_to_constant
from modelkit.passes.share_duplicates import share_duplicates
from modelkit.passes.share_initializers import share_initializers
from modelkit.passes.share_kernels import share_kernels
from modelkit.passes.split_batches import split_batches
from modelkit.passes.split_early import split_early
from modelkit.passes.trace_dims import trace_dims
from modelkit.passes.unroll_einsums import unroll_einsums
from modelkit.reports import Change

Pass = Callable[[Model], Changes]
Watch = Callable[[str, Model], None]
"""Told the name of each pass or fusion that changed the model, and the model."""

BASIC: tuple[Pass, ...] = (
    settle_weights,
    inline_functions,
    remove_unused,
    lift_constants,
    flush_denormals,
    share_initializers,
    share_duplicates,
    infer_symbols,
    shape_to_constant,
    trace_dims,
    fold_constants,
    restore_recurrences,
    remove_dead_branches,
    restore_batch_axes,
    unroll_einsums,
    split_early,
    split_batches,
    settle_reshapes,
    read_whole,
    read_uniform,
    merge_chains,
    drop_unit_axes,
    merge_concats,
    remove_expands,
    remove_identity,
    select_early,
    remove_default_inputs,
    remove_zero_channels,
    remove_zero_heads,
    remove_unused,
)

LEVELS: dict[str, tuple[Pass, ...]] = {"basic": BASIC, "extended": BASIC, "all": BASIC}
"""What runs before and after the fusions of a level, see :mod:`modelkit.passes.fuse`."""

FIRST: tuple[Pass, ...] = (columns_as_rows, fill_channels)
LAST: tuple[Pass, ...] = (distinguish_dims,)
ONCE = (*FIRST, *LAST)
"""What runs once, before and behind all fusions of level all, where the target's table allows."""

SMALLER: tuple[Pass, ...] = (share_kernels,)
"""What runs once behind all that, at every level: a runtime computes the same from less."""

MAX_ROUNDS = 6
READING = (infer_symbols,)


def run_level(
    model: Model, level: str, *, chosen: Callable[[str], bool], watch: Watch | None = None
) -> tuple[Change, ...]:
    """Run the passes of ``level`` whose names are ``chosen``, round after round, in place.

    Stops when a round changes nothing, at the latest after ``MAX_ROUNDS``.  Returns what each pass
    did in all rounds together, those that did nothing left out.
    """
    return run_passes(model, [each for each in LEVELS[level] if chosen(name_of(each))], watch)


def run_passes(
    model: Model, passes: Sequence[Pass], watch: Watch | None = None
) -> tuple[Change, ...]:
    """Run ``passes`` in order, round after round, until each has seen what all others did."""
    totals: dict[str, Changes] = {}
    changed = 0  # by all so far
    seen: dict[Pass, int] = {}  # what had changed when a pass last found nothing to do
    for _ in range(MAX_ROUNDS):
        for each in passes:
            if seen.get(each) == changed:
                continue
            seen[each] = changed
            progress.step(f"pass {name_of(each)}")
            done = each(model)
            if each not in READING:
                changed += done.count
                totals[name_of(each)] = _joined(totals.get(name_of(each)), done)
                if watch is not None and done.count:
                    watch(name_of(each), model)
        if all(seen[each] == changed for each in passes):
            break
    return tuple(
        Change(name, total.count, total.notes)
        for name, total in totals.items()
        if total.count or total.notes
    )


def name_of(each: Pass) -> str:
    """The name users write after ``--skip`` and ``--only``."""
    return str(getattr(each, "__name__", type(each).__name__))


def _joined(before: Changes | None, after: Changes) -> Changes:
    if before is None:
        return after
    notes = dict.fromkeys((*before.notes, *after.notes))
    return Changes(before.count + after.count, tuple(notes))


__all__ = [
    "BASIC",
    "FIRST",
    "LAST",
    "LEVELS",
    "ONCE",
    "SMALLER",
    "Changes",
    "Pass",
    "Watch",
    "name_of",
    "run_level",
    "run_passes",
]
