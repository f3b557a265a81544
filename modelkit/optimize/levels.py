"""Rewrite a model by the passes and fusions of a level; nothing is verified here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelkit.fusions import load_fusions
from modelkit.fusions.linear_as_conv import AS_IMAGES
from modelkit.model import Model, clone
from modelkit.optimize.choice import Choice
from modelkit.passes import FIRST, LAST, SMALLER, Pass, Watch, name_of, run_level
from modelkit.passes.convert_opset import convert_opset
from modelkit.passes.distinguish_dims import distinguished
from modelkit.passes.fuse import WORKING, fuse
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.restore_convolutions import restore_convolutions
from modelkit.reports import Change, NearMiss
from modelkit.rewrite import Fusion
from modelkit.targets import Target
from modelkit.targets import load as load_target


@dataclass(frozen=True)
class Optimized:
    """A rewritten model and how it came about."""

    model: Model
    changes: tuple[Change, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    notes: tuple[str, ...] = ()


def optimize(
    model: Model,
    *,
    level: str = "all",
    target: str = "cpu",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    opset: int | None = None,
    runtime: str = "",
) -> Optimized:
    """Rewrite a copy of ``model`` and leave ``model`` as it was; nothing is verified here.

    Raises:
        UsageError: no such level, target, pass, fusion, opset or runtime.
        Unsupported: an operator has no form in the opset asked for.
    """
    return rewritten(clone(model), Choice(level, target, tuple(only), tuple(skip), opset, runtime))


def rewritten(model: Model, choice: Choice, watch: Watch | None = None) -> Optimized:
    """Rewrite ``model``, which is used up; ``watch`` sees it after each change."""
    target = choice.care.of(load_target(choice.target))
    is_told = choice.level == "all" and distinguished(model)
    restore_convolutions(model)
    newest, newest_ir = choice.limits()
    notes = _converted(model, choice, newest)
    first = run_level(model, choice.level, chosen=choice.takes, watch=watch)
    first += _once(FIRST, model, choice, target, watch)
    fusions = [each for each in load_fusions() if choice.level != "basic" or each.level == "basic"]

    def allow(fusion: Fusion) -> str | None:
        if not choice.takes(fusion.name):
            return "left out by --skip or --only"
        if choice.level != "all" and fusion.level == "all":
            return "belongs to --level all"
        # What leaves a kernel out is faster everywhere; what puts another there was measured.
        return None if fusion.level == "basic" else target.allows(fusion.name)

    def clean(part: Model) -> tuple[Change, ...]:
        return run_level(part, choice.level, chosen=choice.takes, watch=watch)

    # A model for any runtime must still open where the original did; basic keeps the opset.
    highest = min(WORKING, newest)
    if choice.target == "any" or choice.level == "basic" or choice.opset is not None:
        highest = 0
    fused = fuse(model, fusions, allow=allow, clean=clean, highest=highest, watch=watch)
    if newest_ir is not None:
        fused.model.ir_version = min(fused.model.ir_version, newest_ir)
    last = _once(LAST, fused.model, choice, target, watch)
    last += _chosen(SMALLER, fused.model, choice.takes, watch)
    # What a file had before is no change of it.
    changes = _summed((*first, *fused.changes, *(() if is_told else last)))
    notes = (*notes, *fused.notes, *_no_longer(fused.model, changes))
    return Optimized(fused.model, changes, fused.near_misses, notes)


def _no_longer(model: Model, changes: Sequence[Change]) -> tuple[str, ...]:
    """What the source may take and the result does not."""
    made = [change.name for change in changes if change.count and change.name in AS_IMAGES]
    dims = (dim for value in model.graph.inputs for dim in value.shape or ())
    if not made or all(isinstance(dim, int) for dim in dims):
        return ()
    told = "a batch or sequence of length 0 is refused now: ONNX Runtime convolves no empty image"
    return (f"{told} (--skip {','.join(made)} keeps MatMul)",)


def _once(
    passes: Sequence[Pass], model: Model, choice: Choice, target: Target, watch: Watch | None
) -> tuple[Change, ...]:
    def measured(name: str) -> bool:
        return choice.level == "all" and choice.takes(name) and target.allows(name) is None

    if any(measured(name_of(each)) for each in passes):
        infer_symbols(model)
    return _chosen(passes, model, measured, watch)


def _chosen(
    passes: Sequence[Pass], model: Model, chosen: Callable[[str], bool], watch: Watch | None
) -> tuple[Change, ...]:
    found = {name_of(each): each for each in passes if chosen(name_of(each))}
    changes = [Change(name, each(model).count) for name, each in found.items()]
    for change in changes:
        if watch is not None and change.count:
            watch(change.name, model)
    return tuple(change for change in changes if change.count)


def _converted(model: Model, choice: Choice, newest: int) -> tuple[str, ...]:
    """Move the model to the opset asked for, or down to the newest that may be written."""
    current = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    wanted = choice.opset if choice.opset is not None else min(current, newest)
    return convert_opset(model, wanted).notes if wanted != current else ()


def _summed(changes: Sequence[Change]) -> tuple[Change, ...]:
    totals: dict[str, Change] = {}
    for change in changes:
        before = totals.get(change.name, Change(change.name, 0))
        notes = tuple(dict.fromkeys((*before.notes, *change.notes)))
        totals[change.name] = Change(change.name, before.count + change.count, notes)
    return tuple(totals.values())
