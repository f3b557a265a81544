"""Hand over a result: written beside its place, checked there, and only then put in place.

Every writing verb ends here, so that each keeps the same promises: the output is compared with its
source, is not slower, is complete on disk, and nothing that was there before is lost.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import modelkit
from modelkit import progress
from modelkit.errors import BadInput
from modelkit.model import (
    InputSpec,
    Model,
    Staged,
    facts,
    history,
    load,
    read_inputs,
    stage,
    validate,
)
from modelkit.reports import FileFacts, SpeedVerdict, Verification
from modelkit.runtime.bench import gate
from modelkit.runtime.compare import TOLERANCES, Tolerance, verify
from modelkit.runtime.feeds import Proposal, propose, typical_feeds
from modelkit.runtime.machine import usable_cores
from modelkit.runtime.session import Feeds, Run, open_session

# Trials by metric: an exact rewrite shows itself at once, noise needs more to be judged by.
_COUNTS = {"relative": 2, "sqnr": 6}
_MORE_SECONDS = 1.5
"""Of timed runs a candidate on more threads."""


@dataclass(frozen=True)
class Terms:
    """What a delivery must prove, as the user asked for it.

    ``verify`` and ``measure`` are off only by an explicit flag; ``seed`` makes the generated
    inputs; ``dims`` fixes named axes of them; ``data`` are real ones given to compare and to time
    on instead.  ``threads`` are the numbers of threads on each of which it must not be slower.
    """

    force: bool = False
    verify: bool = True
    measure: bool = True
    dry_run: bool = False
    seed: int = 0
    dims: Mapping[str, int] | None = None
    threads: tuple[int, ...] = (1,)
    data: Proposal | None = None


@dataclass(frozen=True)
class Proof:
    """How a result is judged where that differs from the usual.

    ``tolerance`` takes the place of the step's own.  ``stand_in`` writes into a folder the model
    that is compared instead of the result, as it is written: one that computes what the result does
    where it belongs and this machine cannot.  ``for_size`` results are written though they be
    slower.
    """

    tolerance: Tolerance | None = None
    stand_in: Callable[[Path, Path], Path] | None = None
    for_size: bool = False


@dataclass(frozen=True)
class Delivery:
    """What came of it; ``written`` is "" when the speed gate refused or it was a dry run."""

    result: FileFacts
    verification: Verification
    speed: SpeedVerdict
    written: str


def deliver(
    model: Model,
    output: Path,
    terms: Terms,
    *,
    step: str,
    source: Path | None = None,
    reference: Run | None = None,
    specs: Sequence[InputSpec] = (),
    untimed: str = "",
    proposal: Proposal | None = None,
    proof: Proof | None = None,
) -> Delivery:
    """Write ``model`` to ``output`` after proving it against its source.

    The source is an ONNX file (``source``) or a framework's function (``reference``), not both.

    ``step`` is the row of ``runtime.compare.TOLERANCES`` that the errors must meet; ``specs`` say
    what the inputs hold (read from the model's metadata when empty); ``untimed`` is a reason not
    to time the result, which otherwise must not be slower than ``source``; ``proposal`` are real
    inputs to compare on; ``proof`` is how to judge it where that is not the usual way.

    Raises:
        CheckFailed: the outputs differ, or no usable inputs were found.
        CannotWrite: the output exists without ``force``, or the disk refuses.
        BadInput: the rewritten graph is not legal; a defect of a rewrite, nothing was written.
    """
    progress.step("structure check")
    validate(model)
    progress.step("writing")
    with stage(model, output, force=terms.force) as staged:
        proposal = proposal or terms.data
        if proposal is None or not terms.verify:
            count = _COUNTS[TOLERANCES[step].metric]
            proposal = _inputs(model, source, reference, specs, terms, count)
        how = proof or Proof()
        verification = _verified(staged, source, reference, proposal, step, how)
        speed = _ungated(untimed) if untimed else _gated(staged, source, terms, proposal)
        if how.for_size:
            speed = replace(speed, kept=True)
        result = replace(facts(model, output), bytes=staged.bytes)
        if not speed.kept or terms.dry_run:
            return Delivery(result, verification, speed, "")
        progress.step("commit")
        return Delivery(result, verification, speed, str(staged.commit()))


def up_to_date(output: Path, verb: str, recipe: Mapping[str, Any], source_sha256: str) -> bool:
    """Whether ``output`` already is what this source, recipe and version of modelkit give."""
    if not output.is_file():
        return False
    try:
        steps = history(load(output))
    except BadInput:
        return False
    if not steps:
        return False
    last = steps[-1]
    return (
        last.get("verb") == verb
        and last.get("recipe") == dict(recipe)
        and last.get("source_sha256") == source_sha256
        and last.get("modelkit") == modelkit.__version__
    )


def unchanged(model: Model, output: Path, step: str) -> Delivery:
    """What a verb says of ``model`` at ``output``, which :func:`up_to_date` found so."""
    reason = "the output is up to date"
    return Delivery(
        facts(model, output),
        Verification(step, "", True, "", (), skipped=reason),
        SpeedVerdict(None, True, reason),
        str(output),
    )


def note_data(recipe: dict[str, Any], data: str | None, key: str = "calib_sha256") -> bool:
    """Note the digest of a data file in ``recipe`` as ``key``; whether that says all of it.

    A folder or a module may change without a word, so they leave the recipe open.
    """
    if data is None:
        return True
    if not Path(data).is_file():
        return False
    with Path(data).open("rb") as file:
        recipe[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return True


def _inputs(
    model: Model,
    source: Path | None,
    reference: Run | None,
    specs: Sequence[InputSpec],
    terms: Terms,
    count: int,
) -> Proposal | None:
    if not terms.verify:
        return None
    progress.step("choosing inputs")
    wanted = tuple(specs) or read_inputs(model)
    dims = terms.dims or {}
    if source is None:
        return propose(model, reference, specs=wanted, dims=dims, seed=terms.seed, count=count)
    with open_session(source, optimize=False) as session:
        return propose(
            load(source), session.run, specs=wanted, dims=dims, seed=terms.seed, count=count
        )


def _verified(
    staged: Staged,
    source: Path | None,
    reference: Run | None,
    proposal: Proposal | None,
    step: str,
    proof: Proof,
) -> Verification:
    origin: Any = reference if reference is not None else source
    if proposal is None:
        progress.warn("not verified: the result was not compared with its source (--no-verify)")
        return Verification(step, "", False, "", (), skipped="--no-verify was given")
    progress.step("verification")
    tolerance = proof.tolerance
    if proof.stand_in is None:
        return verify(origin, staged.path, step=step, proposal=proposal, tolerance=tolerance)
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        path = proof.stand_in(staged.path, Path(folder))
        return verify(
            origin, path, step=step, proposal=proposal, tolerance=tolerance, optimize=False
        )


def _gated(
    staged: Staged, source: Path | None, terms: Terms, proposal: Proposal | None
) -> SpeedVerdict:
    if not terms.measure:
        return _ungated("--no-measure was given")
    if source is None:
        return _ungated("the source is not an ONNX file")
    if terms.data is not None:
        feeds = terms.data.trials[0][0]
    else:
        real = proposal.trials[0][0] if proposal is not None else None
        feeds = typical_feeds(source, dims=terms.dims, seed=terms.seed, real=real)
    return gated(source, staged.path, feeds, terms.threads)


def threads_to_time(intra_op: int | None) -> tuple[int, ...]:
    """The numbers of threads a result must not be slower on: one and all, or what was asked for."""
    if intra_op is not None:
        return (intra_op,)
    return tuple(dict.fromkeys((1, usable_cores())))


def told_slower(speed: SpeedVerdict) -> str:
    """Where a result is slower and by how much, and what can be done about that."""
    if speed.ratio is None:
        return speed.reason
    if speed.on_threads is None:
        return f"{speed.reason} ({speed.ratio.median:.2f}x)"
    told = f"{speed.reason} ({speed.on_threads.median:.2f}x; on 1 thread {speed.ratio.median:.2f}x)"
    return f"{told}; --intra-op 1 keeps it" if speed.ratio.low > 1 else told


def gated(source: Path, result: Path, feeds: Feeds, threads: Sequence[int]) -> SpeedVerdict:
    """Whether ``result`` may replace ``source``: not where it is slower on any of ``threads``."""
    first, *more = threads
    progress.step("speed gate")
    speed = gate(source, result, feeds, threads=first)
    for count in more:
        if speed.ratio is None or not speed.kept:
            break
        progress.step(f"speed gate on {count} threads")
        found = gate(source, result, feeds, threads=count, seconds=_MORE_SECONDS)
        reason = found.reason if not found.kept else speed.reason
        if found.ratio is None:
            reason = f"{speed.reason}; {found.reason}"
        speed = SpeedVerdict(speed.ratio, found.kept, reason, count, found.ratio)
    return speed


def _ungated(reason: str) -> SpeedVerdict:
    return SpeedVerdict(None, True, reason)
