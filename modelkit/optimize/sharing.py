"""``optimize --shared-cache``: caches updated in place, proven against the decoder as it was."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from modelkit import progress
from modelkit.deliver import (
    Delivery,
    Proof,
    Terms,
    deliver,
    gated,
    note_data,
    threads_to_time,
    told_slower,
    unchanged,
    up_to_date,
)
from modelkit.errors import CheckFailed
from modelkit.model import (
    Model,
    SharedCache,
    add_step,
    check_target,
    facts,
    load,
    operator_counts,
    read_inputs,
    save,
    sha256,
    strip_debug,
    write_inputs,
)
from modelkit.optimize.shared_cache import share_cache
from modelkit.optimize.sharing_trials import Job, check_type
from modelkit.reports import Change, OptimizeReport, SpeedVerdict
from modelkit.runtime.binding import to_float
from modelkit.runtime.compare import TOLERANCES, Tolerance, judge
from modelkit.runtime.feeds import Proposal
from modelkit.runtime.session import Feeds, Run, open_session, use_custom_ops
from modelkit.runtime.stepping import stepping
from modelkit.safe import safe

_ROUNDED = Tolerance("sqnr", 30, 0.97)
"""For quantized decoders: where values are rounded again, the smallest difference flips some."""
_INT8 = Tolerance("sqnr", 20, 0.5)
"""For caches in int8.  The last bit of new entries may differ; their values are held to the same
decibels in :func:`_check_bound`."""
_TIMED = (1, 1, 511)
_SPARE = 7  # places beyond those needed, which hold what must not be read
_NOTE = (
    "bind each present output to the memory of its past input, a buffer with places for all tokens"
    " to come; several tokens on a filled cache want batch 1; outputs at padded tokens are open"
)


def share_cache_file(
    source: str,
    output: str | None = None,
    *,
    force: bool = False,
    verify: bool = True,
    measure: bool = True,
    seed: int = 0,
    dry_run: bool = False,
    custom_ops: Sequence[str] = (),
    cache_type: str = "float32",
    calib_data: str | None = None,
    intra_op: int | None = None,
) -> OptimizeReport:
    """Write the decoder at ``source`` with shared caches to ``output``, or ``<stem>.cache.onnx``.

    With ``cache_type`` "int8" they are kept in int8, on scales found by running the source on
    ``calib_data``, or on generated tokens.

    Raises:
        UsageError: no such type.
        Unsupported: it has no cache that can be shared; the text says why.
        CheckFailed: the outputs differ, or a step is slower; nothing was written.
    """
    use_custom_ops(custom_ops)
    check_type(cache_type, calib_data)
    path = Path(source)
    target = Path(output) if output else path.parent / f"{path.stem}.cache.onnx"
    progress.step("reading")
    origin, digest = load(path), sha256(path)
    recipe: dict[str, Any] = {
        "shared_cache": True,
        "cache_type": cache_type,
        "intra_op": intra_op,
    }
    if cache_type == "int8" and calib_data is None:
        recipe["seed"] = seed  # of the tokens that the scales come from
    settled = note_data(recipe, calib_data)
    if settled and not (force or dry_run) and up_to_date(target, "optimize", recipe, digest):
        model = load(target)
        found = unchanged(model, target, "optimize")
        return replace(_report(origin, path, model, found, found.speed), up_to_date=True)
    if not dry_run:
        check_target(target, force=force)
    progress.step("rewriting")
    model, cache = share_cache(origin)
    job, notes = Job(path, origin, cache, seed), [_NOTE]
    if cache_type == "int8":
        scales, note = job.scales(calib_data)
        model, cache = share_cache(origin, scales)
        job, notes = Job(path, origin, cache, seed), [*notes, note]
    _rename_places(model, cache)
    strip_debug(model)
    layers = len(cache.presents) // 2
    add_step(model, "optimize", recipe, digest, [f"{layers} caches shared"])
    terms = Terms(
        force=force,
        verify=verify,
        measure=measure,
        dry_run=dry_run,
        seed=seed,
        threads=threads_to_time(intra_op),
    )
    delivery, speed = _delivered(model, target, terms, job)
    report = _report(origin, path, model, delivery, speed)
    return replace(report, changes=(Change("shared_cache", layers),), notes=tuple(notes))


def _report(
    origin: Model, path: Path, model: Model, delivery: Delivery, speed: SpeedVerdict
) -> OptimizeReport:
    return OptimizeReport(
        source=facts(origin, path),
        result=delivery.result,
        level="shared-cache",
        target="cpu",
        changes=(),
        near_misses=(),
        operators_before=operator_counts(origin),
        operators_after=operator_counts(model),
        verification=delivery.verification,
        speed=speed,
        written=delivery.written,
    )


def _delivered(model: Model, target: Path, terms: Terms, job: Job) -> tuple[Delivery, SpeedVerdict]:
    """Prove it in place and as any other result, race it, and write it."""
    speed = SpeedVerdict(None, True, "--no-measure was given")
    tolerance = _ROUNDED if _is_quantized(job.model) else TOLERANCES["optimize"]
    if job.cache.scales:
        tolerance = _INT8
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder, job.reference() as reference:
        proposal = job.proposal(reference.source) if terms.verify else None
        if terms.verify or terms.measure:
            staged = save(model, Path(folder) / "shared.onnx")
        if proposal is not None:
            _check_bound(reference, staged, job.cache, proposal, tolerance)
        if terms.measure:
            feeds = job.proposal(reference.source, (_TIMED,), typed=False).trials[0][0]
            speed = gated(job.path, staged, feeds, terms.threads)
            if not speed.kept:
                raise _slower(job.path, speed)
        delivery = deliver(
            model,
            target,
            terms,
            step="optimize",
            reference=reference,
            untimed="it was raced in place",
            proposal=proposal,
            proof=Proof(tolerance=tolerance),
        )
    return delivery, speed


def _is_quantized(model: Model) -> bool:
    signs = ("MatMulNBits", "MatMulInteger", "DynamicQuantize", "QuantizeLinear", "QLinear")
    return any(node.op_type.startswith(signs) for node in model.graph.all_nodes())


def _rename_places(model: Model, cache: SharedCache) -> None:
    """The input spec in the metadata, where there is one, with the buffers' own axis."""
    specs = read_inputs(model)
    pasts = set(cache.presents.values())
    if specs:
        write_inputs(
            model,
            tuple(
                replace(spec, shape=(*spec.shape[:2], "places", *spec.shape[3:]), samples=())
                if spec.name in pasts
                else spec
                for spec in specs
            ),
        )


def _check_bound(
    before: Run, result: Path, cache: SharedCache, proposal: Proposal, tolerance: Tolerance
) -> None:
    """Compare with the source where past and present are one memory, larger than is needed.

    Raises:
        CheckFailed: they differ.
    """
    progress.step("verification in place")
    with open_session(result) as after:
        run = stepping(after, cache)
        pairs = []
        for feeds, _ in proposal.trials:
            total = feeds[cache.mask].shape[1]
            wide = dict(feeds)
            for name in cache.presents.values():
                free = total + _SPARE - feeds[name].shape[2]
                wide[name] = np.pad(
                    feeds[name], [(0, 0), (0, 0), (0, free), (0, 0)], constant_values=99
                )
            actual = run(wide)
            for name in cache.presents:
                actual[name] = actual[name][:, :, :total]
            pairs.append((_values(before(feeds), cache), _values(actual, cache)))
    errors = judge(pairs, tolerance)
    worst = next((error for error in errors if not error.passed), None)
    if worst is not None:
        raise CheckFailed(
            "with shared caches the result does not compute what its source computes",
            cause=f"output '{safe(worst.output)}': {worst.metric} {worst.value:.3g}, the limit is"
            f" {worst.limit:g}",
            hint="nothing was written",
            code="outputs-differ",
        )


def _values(outputs: Feeds, cache: SharedCache) -> Feeds:
    """What caches in int8 stand for."""
    found = dict(outputs)
    for present, past in cache.presents.items():
        if past in cache.scales:
            found[present] = to_float(outputs[present], cache.scales[past])
    return found


def _slower(path: Path, speed: SpeedVerdict) -> CheckFailed:
    return CheckFailed(
        f"{safe(str(path))} decodes slower with shared caches of {_TIMED[2]} places",
        cause=told_slower(speed),
        hint="nothing was written; --no-measure writes it all the same",
        code="slower",
    )
