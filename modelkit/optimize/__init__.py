"""Rewrite a model so that it runs faster and computes the same."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelkit import progress
from modelkit.deliver import (
    Delivery,
    Terms,
    deliver,
    note_data,
    threads_to_time,
    told_slower,
    unchanged,
    up_to_date,
)
from modelkit.errors import CheckFailed, ModelkitError
from modelkit.model import (
    Model,
    add_step,
    check_target,
    clone,
    facts,
    load,
    operator_counts,
    save,
    sha256,
    strip_debug,
)
from modelkit.optimize.choice import ALWAYS, Care, Choice, describe, rewrites
from modelkit.optimize.levels import Optimized, optimize, rewritten
from modelkit.optimize.prepare import Shaping, prepare, real_inputs
from modelkit.optimize.reproducer import reproducer
from modelkit.optimize.watching import Spoiled, watching
from modelkit.passes import LEVELS, Watch, name_of
from modelkit.reports import (
    FileFacts,
    OptimizeReport,
    RewritesReport,
)
from modelkit.runtime.feeds import propose
from modelkit.runtime.machine import instruction_set
from modelkit.runtime.session import open_session, use_custom_ops, version
from modelkit.safe import safe
from modelkit.targets import load as load_target

STEPS_BACK = (
    ("all", Care.NONE),
    ("all", Care.THREADS),
    ("all", Care.SURE),
    ("extended", Care.NONE),
    ("basic", Care.NONE),
)
"""Levels, and what of them is left out."""
ORIGINAL = "original"
MAX_SPOILED = 8


def list_rewrites() -> RewritesReport:
    """Every pass and fusion that ``only`` and ``skip`` know."""
    return RewritesReport(rewrites())


@dataclass
class _Job:
    """One call of :func:`optimize_file`: what was asked, and what was said on the way.

    ``source`` is what results are compared with: the file given, or, where its axes or ends were
    changed first, the changed model in ``folder``.  ``fresh`` is a model of it that nobody used up
    yet; ``operators`` are those of the file given; ``given`` says which real inputs were.
    """

    source: Path
    output: Path
    fresh: Model | None
    operators: dict[str, int]
    sha: str
    terms: Terms
    shaping: Shaping
    folder: Path
    intra_op: int | None = None
    given: dict[str, Any] = field(default_factory=dict)
    watch: Watch | None = None
    notes: list[str] = field(default_factory=list)

    def origin(self) -> Model:
        """A model of the source that may be used up: the one already read, then the file again."""
        model, self.fresh = self.fresh or load(self.source), None
        return model

    def recipe(self, choice: Choice) -> dict[str, Any]:
        return {
            "level": choice.level,
            "target": choice.target,
            "only": sorted(choice.only),
            "skip": sorted(choice.skip),
            "opset": choice.opset,
            "for": choice.runtime,
            "dims": dict(self.shaping.dims),
            "free_dims": list(self.shaping.free),
            "extract": self.shaping.extract,
            "intra_op": self.intra_op,
            **self.given,
        }


def optimize_file(
    source: str,
    output: str | None = None,
    *,
    level: str = "all",
    target: str = "cpu",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    opset: int | None = None,
    runtime: str = "",
    dims: Mapping[str, int] | None = None,
    free_dims: Sequence[str] = (),
    extract: str = "",
    check: bool = False,
    force: bool = False,
    verify: bool = True,
    measure: bool = True,
    seed: int = 0,
    dry_run: bool = False,
    custom_ops: Sequence[str] = (),
    intra_op: int | None = None,
    eval_data: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> OptimizeReport:
    """Optimize the model at ``source`` into ``output``, by default ``<stem>.opt.onnx`` beside it.

    The result is compared with its source and timed against it.  A rewrite that spoils the outputs
    is left out and named, and the smallest part that shows it is written beside the output; with
    ``check`` the outputs are compared after each rewrite.  Where the result is slower the next
    lower level is taken, at last the model as it was.  ``dims``, ``free_dims`` and ``extract``
    change the model's axes and ends before; see :class:`modelkit.optimize.prepare.Shaping`.
    ``intra_op`` is the number of threads it will run on; by default it is made fast on one, and
    must not be slower on as many as the machine has cores.  ``eval_data`` are real inputs that take
    the place of generated ones, read with ``preprocessing``.

    Raises:
        CheckFailed: the outputs differ, whichever rewrite is left out; nothing was written.
        Unsupported: an operator has no form in ``opset`` or the newest that ``runtime`` opens.
        BadInput, CannotWrite, UsageError: see :func:`modelkit.model.load` and ``deliver``.
    """
    use_custom_ops(custom_ops)
    care = Care.THREADS if intra_op is not None and intra_op > 1 else Care.NONE
    choice = Choice(level, target, tuple(only), tuple(skip), opset, runtime, care)
    shaping = Shaping(dict(dims or {}), tuple(free_dims), extract)
    path = Path(source)
    place = Path(output) if output else path.parent / f"{path.stem}.opt.onnx"
    progress.step("reading")
    origin = load(path)
    data = real_inputs(path, eval_data, preprocessing, shaping)
    terms = Terms(
        force=force,
        verify=verify,
        measure=measure,
        dry_run=dry_run,
        seed=seed,
        threads=threads_to_time(intra_op),
        data=data,
    )
    before = facts(origin, path)
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        held, digest = operator_counts(origin), sha256(path)
        job = _Job(path, place, origin, held, digest, terms, shaping, Path(folder), intra_op)
        del origin
        settled = note_data(job.given, eval_data, "eval_sha256")
        if (
            settled
            and not (force or dry_run)
            and up_to_date(place, "optimize", job.recipe(choice), job.sha)
        ):
            return _unchanged(job, choice, before)
        check_target(place, force=force)
        _prepared(job, check=check)
        used, done, delivery = _stepping_back(job, choice)
        job.notes += _measured_elsewhere(used, target, measure=measure)
        return _report(job, before, used, target, done, delivery)


def _report(
    job: _Job, before: FileFacts, level: str, target: str, done: Optimized, delivery: Delivery
) -> OptimizeReport:
    return OptimizeReport(
        source=before,
        result=delivery.result,
        level=level,
        target=target,
        changes=done.changes,
        near_misses=done.near_misses,
        operators_before=job.operators,
        operators_after=operator_counts(done.model),
        verification=delivery.verification,
        speed=delivery.speed,
        notes=(*done.notes, *job.notes),
        written=delivery.written,
    )


def _measured_elsewhere(level: str, name: str, *, measure: bool) -> tuple[str, ...]:
    """What to say where the table that decided is of another machine than this."""
    target = load_target(name)
    other = target.elsewhere(instruction_set(), version())
    if not other or level in ("basic", ORIGINAL):
        return ()
    done = "the speed gate judged the rewrites together" if measure else "nothing was timed here"
    hint = "modelkit tune --kernels -o FILE makes a table of this machine"
    return (f"what pays on target {target.name} was measured with {other}; {done}: {hint}",)


def _steps_back(choice: Choice) -> Iterator[Choice]:
    """The choice made, then more and more careful ones."""
    first = (choice.level, choice.care if choice.level == "all" else Care.NONE)
    for level, care in STEPS_BACK[STEPS_BACK.index(first) :]:
        yield replace(choice, level=level, care=care)


def _prepared(job: _Job, *, check: bool) -> None:
    if job.shaping:
        job.source, notes = prepare(
            job.source,
            job.shaping,
            job.folder,
            seed=job.terms.seed,
            check=job.terms.verify,
            data=job.terms.data,
        )
        job.notes += notes
        job.fresh = None
    if check:
        job.watch = watching(job.source, job.folder, seed=job.terms.seed, data=job.terms.data)


def _unchanged(job: _Job, choice: Choice, before: FileFacts) -> OptimizeReport:
    result = load(job.output)
    found = unchanged(result, job.output, "optimize")
    return OptimizeReport(
        source=before,
        result=found.result,
        level=choice.level,
        target=choice.target,
        changes=(),
        near_misses=(),
        operators_before=job.operators,
        operators_after=operator_counts(result),
        verification=found.verification,
        speed=found.speed,
        up_to_date=True,
        written=found.written,
    )


def _stepping_back(job: _Job, choice: Choice) -> tuple[str, Optimized, Delivery]:
    """Deliver the best level that is not slower; the model as it was always is not."""
    seen: list[dict[str, int]] = []
    for step in _steps_back(choice):
        done = _watched(job, step)
        counts = operator_counts(done.model)
        if counts in seen:
            continue
        seen.append(counts)
        done, delivery = _healed(job, step, done, choice)
        if delivery.speed.kept:
            return step.level, done, delivery
        why = told_slower(delivery.speed)
        job.notes.append(f"level {step.level}{step.care} stepped back: {why}")
        progress.note(job.notes[-1])
    # Only the opset may differ from what it was.
    nothing = replace(choice, level="basic", only=(ALWAYS,), skip=())
    kept = replace(rewritten(job.origin(), nothing), near_misses=())
    try:
        return ORIGINAL, kept, _delivered(job, kept, choice, untimed="it is the model as it was")
    except CheckFailed as error:
        if error.code != "outputs-differ":
            raise
    reason = "ONNX Runtime's own optimizations spoil the model as it was"
    return step.level, done, _delivered(job, done, choice, untimed=reason)


def _watched(job: _Job, choice: Choice) -> Optimized:
    """Rewrite; what ``--check`` finds to spoil the outputs is left out from there on."""
    for _ in range(MAX_SPOILED):
        try:
            return rewritten(job.origin(), choice, job.watch)
        except Spoiled as error:
            if error.name not in describe():
                raise CheckFailed(
                    f"{error.name} spoils the outputs", cause=error.cause, code="outputs-differ"
                ) from None
            _blame(job, choice, error.name, error.cause)
            choice = replace(choice, skip=(*choice.skip, error.name))
    raise CheckFailed(
        f"more than {MAX_SPOILED} rewrites spoil the outputs",
        hint="--only NAME applies one alone",
        code="outputs-differ",
    )


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
        tried = rewritten(job.origin(), without)
        try:
            delivery = _delivered(job, tried, asked)
        except CheckFailed as error:
            if error.code != "outputs-differ":
                raise
            continue
        _blame(job, choice, change.name, failure.cause)
        return tried, delivery
    raise failure


def _blame(job: _Job, choice: Choice, name: str, cause: str) -> None:
    """Say which rewrite is left out, and write the smallest part of the model that shows why."""
    job.notes.append(f"{name} left out: with it {cause}")
    progress.warn(job.notes[-1])
    if job.terms.dry_run:
        return
    alone = replace(choice, only=(name,), skip=())
    try:
        origin = job.origin()
        with open_session(job.source, optimize=False) as session:
            data = job.terms.data or propose(origin, session.run, seed=job.terms.seed)
        part = reproducer(
            origin,
            data.trials[0][0],
            lambda model: rewritten(clone(model), alone).model,
            job.folder,
        )
        if part is None:
            job.notes.append("no reproducer was written: no part of the model shows it alone")
            return
        place = job.output.with_name(f"{job.output.stem}.{name}.reproducer.onnx")
        save(part, place, force=job.terms.force)
    except ModelkitError as error:
        job.notes.append(f"no reproducer was written: {error.message}")
        return
    told = f"{safe(str(place))} ({len(part.graph)} nodes) shows what {name} spoils"
    job.notes.append(f"{told}: modelkit optimize it with --only {name}")


def _pass_names() -> set[str]:
    return {name_of(each) for passes in LEVELS.values() for each in passes}


def _delivered(job: _Job, done: Optimized, asked: Choice, *, untimed: str = "") -> Delivery:
    strip_debug(done.model)
    decisions = [f"{change.name} x{change.count}" for change in done.changes if change.count]
    add_step(done.model, "optimize", job.recipe(asked), job.sha, [*decisions, *job.notes])
    return deliver(
        done.model, job.output, job.terms, step="optimize", source=job.source, untimed=untimed
    )


__all__ = [
    "ORIGINAL",
    "Choice",
    "Optimized",
    "describe",
    "list_rewrites",
    "optimize",
    "optimize_file",
    "rewritten",
]
