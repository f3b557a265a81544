"""Apply the fusions that pay on a target, at the opset they are written for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelkit import progress
from modelkit.errors import Unsupported
from modelkit.model import Model, clone
from modelkit.passes.convert_opset import convert_opset
from modelkit.passes.opsets.runnable import runnable
from modelkit.reports import Change, NearMiss
from modelkit.rewrite import Applied, Fusion, apply

WORKING = 23
"""The opset fusions are written for, unless the target or the user caps it lower."""

MAX_ROUNDS = 4
FINISHING = 100
"""The order from which on fusions wait until no other fits any more."""

_NEEDS = "needs opset"

Allow = Callable[[Fusion], str | None]
Watch = Callable[[str, Model], None]
Clean = Callable[[Model], Sequence[Change]]


@dataclass(frozen=True)
class Fused:
    """The model after its fusions, what fired, what nearly did, and why others could not."""

    model: Model
    changes: tuple[Change, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    notes: tuple[str, ...] = ()


def fuse(
    model: Model,
    fusions: Sequence[Fusion],
    *,
    allow: Allow,
    clean: Clean,
    highest: int,
    watch: Watch | None = None,
) -> Fused:
    """Return the fused model, which may be ``model`` itself: give a clone to keep it as it was.

    The fusions run at opset ``min(highest, 23)``, or the newest below at which the runtime has all
    kernels.  If none that fired needs more than the opset the model had, they run again at that
    one, so that no opset is raised for nothing.  ``clean``
    is run after a conversion and after the fusions; ``allow`` gives the reason to leave one out.
    With ``watch`` the fusions are applied one by one, and it sees the model after each that fired.
    """
    before = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    working, last = runnable(model, min(highest, WORKING))
    notes: tuple[str, ...] = ()
    misses: tuple[NearMiss, ...] | None = None
    if before < working:
        try:
            raised, applied, cleaned = _at(working, clone(model), fusions, allow, clean, watch)
        except Unsupported as error:
            notes = (f"opset stays {before}: {error.cause or error.message}",)
        else:
            misses = tuple(applied.near_misses)
            notes = _ends(misses, working, last)
            if applied.opset_needed > before:
                note = f"opset {before} became {working}, which fusions need"
                return Fused(raised, (*applied.changes, *cleaned), misses, (note, *notes))
            # Seen at the higher opset, no fusion is missing only because it needs one.
    kept, applied, cleaned = _at(before, model, fusions, allow, clean, watch)
    if misses is None:
        misses = tuple(applied.near_misses)
        notes = (*notes, *_ends(misses, working, last))
    return Fused(kept, (*applied.changes, *cleaned), misses, notes)


def _ends(misses: Sequence[NearMiss], version: int, last: str) -> tuple[str, ...]:
    """Why the opset did not rise further, where that left fusions out."""
    if not last or not any(miss.reason.startswith(_NEEDS) for miss in misses):
        return ()
    return (f"the opset stays below {version + 1}: ONNX Runtime has no kernel for {last} there",)


def _at(
    version: int,
    model: Model,
    fusions: Sequence[Fusion],
    allow: Allow,
    clean: Clean,
    watch: Watch | None,
) -> tuple[Model, Applied, Sequence[Change]]:
    if convert_opset(model, version).count:
        if watch is not None:
            watch("convert_opset", model)
        clean(model)

    def permitted(fusion: Fusion) -> str | None:
        if fusion.opset > version:
            return f"{_NEEDS} {fusion.opset}, the model has {version}"
        return allow(fusion)

    changes: list[Change] = []
    misses: dict[tuple[str, str], NearMiss] = {}
    cleaned: list[Change] = []
    needed = 0
    # What leaves kernels out comes first: passes read plain operators, not what a target runs best.
    usual = [fusion for fusion in fusions if fusion.order < FINISHING]
    simple = [fusion for fusion in usual if fusion.level == "basic"]
    last = [fusion for fusion in fusions if fusion.order >= FINISHING]
    done = False
    for wanted in (simple, *[usual] * MAX_ROUNDS, last):
        if done and wanted is usual:
            continue
        progress.step("fusions")
        applied = _applied(wanted, model, permitted, watch)
        found = {(miss.fusion, miss.node): miss for miss in applied.near_misses}
        misses = {**misses, **found} if wanted is last else found
        if not applied.changes:
            done = wanted is usual
            continue
        # What was cleaned up in between may complete the next pattern: fusions grow in steps.
        changes += applied.changes
        needed = max(needed, applied.opset_needed)
        cleaned += clean(model)
    return model, Applied(tuple(changes), tuple(misses.values()), needed), cleaned


def _applied(fusions: Sequence[Fusion], model: Model, allow: Allow, watch: Watch | None) -> Applied:
    if watch is None:
        return apply(fusions, model, allow=allow)
    changes: list[Change] = []
    misses: list[NearMiss] = []
    needed = 0
    for fusion in sorted(fusions, key=lambda each: (each.order, -each.size, each.name)):
        done = apply([fusion], model, allow=allow)
        changes += done.changes
        misses += done.near_misses
        needed = max(needed, done.opset_needed)
        if done.changes:
            watch(fusion.name, model)
    return Applied(tuple(changes), tuple(misses), needed)
