"""Rewrite a model so that it runs faster and computes the same."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelkit import progress
from modelkit.deliver import Delivery, Terms, deliver, up_to_date
from modelkit.errors import CheckFailed, UsageError
from modelkit.fusions import load_fusions
from modelkit.model import (
    Model,
    add_step,
    check_target,
    clone,
    facts,
    load,
    operator_counts,
    sha256,
    strip_debug,
    validate,
)
from modelkit.passes import LEVELS, name_of, run_level
from modelkit.passes.fuse import WORKING, fuse
from modelkit.reports import (
    Change,
    FileFacts,
    NearMiss,
    OptimizeReport,
    SpeedVerdict,
    Verification,
)
from modelkit.rewrite import Fusion
from modelkit.targets import load as load_target

STEPS_BACK = ("all", "extended", "basic")
ORIGINAL = "original"
ALWAYS = "infer_symbols"
"""Reads the graph and changes nothing; other passes rely on it."""


@dataclass(frozen=True)
class Optimized:
    """A rewritten model and how it came about."""

    model: Model
    changes: tuple[Change, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """Which passes and fusions run: those in ``only`` (all, when empty) but not in ``skip``."""

    level: str = "all"
    target: str = "cpu"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise _unknown("level", self.level, list(LEVELS))
        known = list(describe())
        for name in (*self.only, *self.skip):
            if name not in known:
                raise _unknown("pass or fusion", name, known)

    def takes(self, name: str) -> bool:
        """Whether the pass or fusion called ``name`` runs."""
        return name == ALWAYS or ((not self.only or name in self.only) and name not in self.skip)


def describe() -> dict[str, str]:
    """The name of every pass and fusion with its first line of documentation."""
    found = {}
    for passes in LEVELS.values():
        for each in passes:
            found[name_of(each)] = _first_line(each.__doc__)
    for fusion in load_fusions():
        found[fusion.name] = _first_line(fusion.doc)
    return found


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n", 1)[0]


def _unknown(what: str, name: str, known: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"one of: {', '.join(known)}"
    return UsageError(f"no {what} is called '{name}'", hint=hint)


def optimize(
    model: Model,
    *,
    level: str = "all",
    target: str = "cpu",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> Optimized:
    """Rewrite a copy of ``model`` and leave ``model`` as it was; nothing is verified here.

    Raises:
        UsageError: no such level, target, pass or fusion.
    """
    return _rewritten(model, Choice(level, target, tuple(only), tuple(skip)))


def _rewritten(model: Model, choice: Choice) -> Optimized:
    target = load_target(choice.target)
    copy = clone(model)
    first = run_level(copy, choice.level, chosen=choice.takes)
    fusions = [each for each in load_fusions() if choice.level != "basic" or each.level == "basic"]

    def allow(fusion: Fusion) -> str | None:
        if not choice.takes(fusion.name):
            return "left out by --skip or --only"
        if choice.level != "all" and fusion.level == "all":
            return "belongs to --level all"
        # What leaves a kernel out is faster everywhere; what puts another there was measured.
        return None if fusion.level == "basic" else target.allows(fusion.name)

    def clean(part: Model) -> tuple[Change, ...]:
        return run_level(part, choice.level, chosen=choice.takes)

    # A model for any runtime must still open where the original did; basic keeps the opset.
    highest = 0 if choice.target == "any" or choice.level == "basic" else WORKING
    fused = fuse(copy, fusions, allow=allow, clean=clean, highest=highest)
    changes = _summed((*first, *fused.changes))
    return Optimized(fused.model, changes, fused.near_misses, fused.notes)


def _summed(changes: Sequence[Change]) -> tuple[Change, ...]:
    totals: dict[str, Change] = {}
    for change in changes:
        before = totals.get(change.name, Change(change.name, 0))
        notes = tuple(dict.fromkeys((*before.notes, *change.notes)))
        totals[change.name] = Change(change.name, before.count + change.count, notes)
    return tuple(totals.values())


@dataclass
class _Job:
    """One call of :func:`optimize_file`: what was asked, and what was said on the way."""

    source: Path
    output: Path
    origin: Model
    sha: str
    terms: Terms
    notes: list[str] = field(default_factory=list)

    def recipe(self, choice: Choice) -> dict[str, Any]:
        return {
            "level": choice.level,
            "target": choice.target,
            "only": sorted(choice.only),
            "skip": sorted(choice.skip),
        }


def optimize_file(
    source: str,
    output: str | None = None,
    *,
    level: str = "all",
    target: str = "cpu",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    force: bool = False,
    verify: bool = True,
    measure: bool = True,
    seed: int = 0,
    dry_run: bool = False,
) -> OptimizeReport:
    """Optimize the model at ``source`` into ``output``, by default ``<stem>.opt.onnx`` beside it.

    The result is compared with its source and timed against it.  A rewrite that spoils the outputs
    is left out and named; where the result is slower the next lower level is taken, at last the
    model as it was.

    Raises:
        CheckFailed: the outputs differ, whichever rewrite is left out; nothing was written.
        BadInput, CannotWrite, UsageError: see :func:`modelkit.model.load` and ``deliver``.
    """
    choice = Choice(level, target, tuple(only), tuple(skip))
    path = Path(source)
    place = Path(output) if output else path.parent / f"{path.stem}.opt.onnx"
    progress.step("reading")
    origin = load(path)
    terms = Terms(force=force, verify=verify, measure=measure, dry_run=dry_run, seed=seed)
    job = _Job(path, place, origin, sha256(path), terms)
    before = facts(origin, path)
    if not (force or dry_run) and up_to_date(place, "optimize", job.recipe(choice), job.sha):
        return _unchanged(job, choice, before)
    check_target(place, force=force)
    validate(origin)
    used, done, delivery = _stepping_back(job, choice)
    return OptimizeReport(
        source=before,
        result=delivery.result,
        level=used,
        target=target,
        changes=done.changes,
        near_misses=done.near_misses,
        operators_before=operator_counts(origin),
        operators_after=operator_counts(done.model),
        verification=delivery.verification,
        speed=delivery.speed,
        notes=(*done.notes, *job.notes),
        written=delivery.written,
    )


def _unchanged(job: _Job, choice: Choice, before: FileFacts) -> OptimizeReport:
    result = load(job.output)
    reason = "the output is up to date"
    return OptimizeReport(
        source=before,
        result=facts(result, job.output),
        level=choice.level,
        target=choice.target,
        changes=(),
        near_misses=(),
        operators_before=operator_counts(job.origin),
        operators_after=operator_counts(result),
        verification=Verification("optimize", "", True, "", (), skipped=reason),
        speed=SpeedVerdict(None, True, reason),
        up_to_date=True,
        written=str(job.output),
    )


def _stepping_back(job: _Job, choice: Choice) -> tuple[str, Optimized, Delivery]:
    """Deliver the best level that is not slower; the model as it was always is not."""
    seen: list[dict[str, int]] = []
    for level in STEPS_BACK[STEPS_BACK.index(choice.level) :]:
        done = _rewritten(job.origin, replace(choice, level=level))
        counts = operator_counts(done.model)
        if counts in seen:
            continue
        seen.append(counts)
        done, delivery = _healed(job, replace(choice, level=level), done, choice)
        if delivery.speed.kept:
            return level, done, delivery
        job.notes.append(f"level {level} stepped back: {delivery.speed.reason}")
        progress.note(job.notes[-1])
    kept = Optimized(clone(job.origin))
    return ORIGINAL, kept, _delivered(job, kept, choice, gated=False)


def _healed(
    job: _Job, choice: Choice, done: Optimized, asked: Choice
) -> tuple[Optimized, Delivery]:
    """Deliver; where the outputs differ, find the one rewrite to blame and leave it out."""
    try:
        return done, _delivered(job, done, asked)
    except CheckFailed as error:
        if error.code != "outputs-differ":
            raise
        failure = error
    for change in sorted(done.changes, key=lambda change: change.name in _pass_names()):
        progress.step(f"trying without {change.name}")
        without = replace(choice, skip=(*choice.skip, change.name))
        tried = _rewritten(job.origin, without)
        try:
            delivery = _delivered(job, tried, asked)
        except CheckFailed as error:
            if error.code != "outputs-differ":
                raise
            continue
        note = f"{change.name} left out: with it {failure.cause}"
        job.notes.append(note)
        progress.warn(note)
        return tried, delivery
    raise failure


def _pass_names() -> set[str]:
    return {name_of(each) for passes in LEVELS.values() for each in passes}


def _delivered(job: _Job, done: Optimized, asked: Choice, *, gated: bool = True) -> Delivery:
    strip_debug(done.model)
    decisions = [f"{change.name} x{change.count}" for change in done.changes if change.count]
    add_step(done.model, "optimize", job.recipe(asked), job.sha, [*decisions, *job.notes])
    return deliver(
        done.model, job.output, job.terms, step="optimize", source=job.source, gated=gated
    )
