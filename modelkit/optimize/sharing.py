"""``optimize --shared-cache``: caches updated in place, proven against the decoder as it was."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit import progress
from modelkit.deliver import Proof, Terms, deliver
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
from modelkit.reports import Change, OptimizeReport, SpeedVerdict
from modelkit.runtime.bench import gate
from modelkit.runtime.binding import bound_values
from modelkit.runtime.compare import TOLERANCES, Tolerance, judge
from modelkit.runtime.feeds import Proposal, propose
from modelkit.runtime.session import Feeds, open_session, use_custom_ops
from modelkit.safe import safe

_CASES = ((1, 1, 60), (3, 1, 17), (1, 5, 11), (1, 6, 0), (3, 4, 0))
"""Batch, new tokens, filled places; more tokens than one on a filled cache want batch 1."""
_ROUNDED = Tolerance("sqnr", 30, 0.97)
"""For quantized decoders: where values are rounded again, the smallest difference flips some."""
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
) -> OptimizeReport:
    """Write the decoder at ``source`` with shared caches to ``output``, or ``<stem>.cache.onnx``.

    Raises:
        Unsupported: it has no cache that can be shared; the text says why.
        CheckFailed: the outputs differ, or a step is slower; nothing was written.
    """
    use_custom_ops(custom_ops)
    path = Path(source)
    target = Path(output) if output else path.parent / f"{path.stem}.cache.onnx"
    progress.step("reading")
    origin = load(path)
    if not dry_run:
        check_target(target, force=force)
    progress.step("rewriting")
    model, cache = share_cache(origin)
    _rename_places(model, cache)
    strip_debug(model)
    layers = len(cache.presents) // 2
    add_step(model, "optimize", {"shared_cache": True}, sha256(path), [f"{layers} caches shared"])
    tolerance = _ROUNDED if _is_quantized(origin) else TOLERANCES["optimize"]
    terms = Terms(force=force, verify=verify, measure=measure, dry_run=dry_run, seed=seed)
    proposal, speed = None, SpeedVerdict(None, True, "--no-measure was given")
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        staged = save(model, Path(folder) / "shared.onnx") if verify or measure else path
        if verify:
            proposal = _proposal(path, origin, cache, seed)
            _check_bound(path, staged, cache, proposal, tolerance)
        if measure:
            progress.step("speed gate")
            speed = gate(path, staged, _proposal(path, origin, cache, seed, (_TIMED,)).trials[0][0])
            if not speed.kept:
                raise _slower(path, speed)
    delivery = deliver(
        model,
        target,
        terms,
        step="optimize",
        source=path,
        gated=False,
        proposal=proposal,
        proof=Proof(tolerance=tolerance),
    )
    return OptimizeReport(
        source=facts(origin, path),
        result=delivery.result,
        level="shared-cache",
        target="cpu",
        changes=(Change("shared_cache", layers),),
        near_misses=(),
        operators_before=operator_counts(origin),
        operators_after=operator_counts(model),
        verification=delivery.verification,
        speed=speed,
        notes=(_NOTE,),
        written=delivery.written,
    )


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


def _proposal(
    path: Path,
    model: Model,
    cache: SharedCache,
    seed: int,
    cases: Sequence[tuple[int, int, int]] = _CASES,
) -> Proposal:
    """Steps of decoding and prompts, with the lengths of ``cases``; one of them padded in front.

    Raises:
        CheckFailed: the source runs on none.
    """
    ports = {value.name: value for value in model.graph.inputs}
    past = ports[next(iter(cache.presents.values()))]
    trials: list[tuple[Feeds, int]] = []
    with open_session(path, optimize=False) as session:
        for number, (batch, tokens, filled) in enumerate(cases):
            lengths = {
                _axis(ports[cache.mask], 0): batch,
                _axis(past, 0): batch,
                _axis(past, 2): filled,
                _axis(ports[cache.tokens], 1): tokens,
                _axis(ports[cache.mask], 1): tokens + filled,
            }
            dims = {name: length for name, length in lengths.items() if name is not None}
            found = propose(model, session.run, dims=dims, seed=seed + number, count=1)
            feeds = found.trials[0][0]
            if batch > 1 and tokens == 1:
                feeds[cache.mask] = feeds[cache.mask].copy()
                feeds[cache.mask][-1, :3] = 0
            trials.append((feeds, seed + number))
    return Proposal(tuple(trials), found.source)


def _axis(value: ir.Value, axis: int) -> str | None:
    assert value.shape is not None
    dim = value.shape[axis]
    return dim.value if isinstance(dim, ir.SymbolicDim) else None


def _check_bound(
    source: Path, result: Path, cache: SharedCache, proposal: Proposal, tolerance: Tolerance
) -> None:
    """Compare with ``source`` where past and present are one memory, larger than is needed.

    Raises:
        CheckFailed: they differ.
    """
    progress.step("verification in place")
    with open_session(source, optimize=False) as before, open_session(result) as after:
        run = bound_values(after, cache)
        pairs = []
        for feeds, _ in proposal.trials:
            total = feeds[cache.mask].shape[1]
            wide = dict(feeds)
            for name in cache.presents.values():
                free = total + _SPARE - feeds[name].shape[2]
                wide[name] = np.pad(
                    feeds[name], [(0, 0), (0, 0), (0, free), (0, 0)], constant_values=1e3
                )
            actual = run(wide)
            for name in cache.presents:
                actual[name] = actual[name][:, :, :total]
            pairs.append((before.run(feeds), actual))
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


def _slower(path: Path, speed: SpeedVerdict) -> CheckFailed:
    ratio = f"{speed.ratio.median:.2f}x" if speed.ratio else "slower"
    return CheckFailed(
        f"{safe(str(path))} decodes slower with shared caches ({ratio} at {_TIMED[2]} places)",
        hint="nothing was written; --no-measure writes it all the same",
        code="slower",
    )
