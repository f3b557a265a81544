"""``fp16``: half precision that is proven right, without the card it is meant for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from modelkit import progress
from modelkit.deliver import Delivery, Proof, Terms, deliver, note_data, unchanged, up_to_date
from modelkit.errors import CheckFailed
from modelkit.model import (
    Model,
    add_step,
    check_target,
    facts,
    load,
    nodes,
    sha256,
    strip_debug,
)
from modelkit.precision.convert import Converted, Types, convert
from modelkit.precision.data import read
from modelkit.precision.mixed import Found, Search, find_float_nodes
from modelkit.precision.opening import check_opens
from modelkit.precision.options import Options, checked
from modelkit.precision.plan import Evidence, Wishes, cast_share, find_ranges, make_plan
from modelkit.precision.prepare import prepared
from modelkit.precision.ranges import Range
from modelkit.precision.refusals import no_gain, nothing, reasons, refuse, unlike
from modelkit.precision.rules import Keep
from modelkit.precision.simulate import simulated_file
from modelkit.reports import FileFacts, PrecisionReport, Skip
from modelkit.runtime.data.settings import keep_settings
from modelkit.runtime.feeds import Proposal
from modelkit.runtime.session import Feeds, open_session, use_custom_ops
from modelkit.safe import safe


def fp16(
    model: Model,
    *,
    half: ir.DataType = ir.DataType.FLOAT16,
    samples: Sequence[Feeds] = (),
    wishes: Wishes | None = None,
    evidence: Evidence | None = None,
) -> tuple[Model, Converted, tuple[Skip, ...]]:
    """A copy of ``model`` in half precision, what was done, and which nodes keep float and why.

    Inputs and outputs keep their types unless ``wishes`` say otherwise; ``samples`` find values
    that leave the range of half.  Nothing is verified here.

    Raises:
        Unsupported: an opset that cannot be raised to 13.
    """
    copy = prepared(model, half)
    types, keep = make_plan(copy, half, evidence or Evidence(samples), wishes or Wishes())
    kept = _skips(types, keep)
    return copy, convert(copy, types), kept


def fp16_file(
    source: str,
    output: str | None = None,
    *,
    force: bool = False,
    verify: bool = True,
    measure: bool = True,
    seed: int = 0,
    dry_run: bool = False,
    custom_ops: Sequence[str] = (),
    **chosen: Any,
) -> PrecisionReport:
    """Put the model at ``source`` into half precision at ``output``, by default beside it.

    ``chosen`` are fields of :class:`Options`.

    Raises:
        CheckFailed: nothing can be in half, or simulated half arithmetic misses the goal; nothing
            was written, and the text says why and what to try.
        BadInput: it holds no float.
        UsageError: options that contradict each other.
    """
    use_custom_ops(custom_ops)
    chosen["keep"] = tuple(chosen.get("keep") or ())
    options = checked(Options(**chosen))
    path = Path(source)
    target = Path(output) if output else path.parent / f"{path.stem}.{options.step}.onnx"
    recipe = options.recipe()
    settled = note_data(recipe, options.calib_data)
    progress.step("reading")
    origin = load(path)
    before, digest = facts(origin, path), sha256(path)
    if settled and not (force or dry_run) and up_to_date(target, "fp16", recipe, digest):
        return _unchanged(before, target, options, recipe)
    if not dry_run:
        check_target(target, force=force)
    made = _made(origin, path, options, seed, needed=verify or options.mixed)
    done = made.done
    _forget_types(made.model, origin)
    strip_debug(made.model)
    keep_settings(made.model, options.preprocessing)
    add_step(made.model, "fp16", recipe, digest, [f"{done.in_half} nodes in {options.step}"])
    terms = Terms(force=force, verify=verify, measure=measure, dry_run=dry_run, seed=seed)
    delivery = _delivered(made, target, terms, options, path)
    gain = no_gain(options.step)
    return PrecisionReport(
        source=before,
        result=delivery.result,
        half=options.step,
        options={name: str(value) for name, value in recipe.items()},
        in_half=done.in_half,
        kept=made.kept,
        casts=done.casts_added,
        casts_removed=done.casts_removed,
        cast_share=made.cast_share,
        verification=delivery.verification,
        speed=delivery.speed,
        notes=(*made.notes, *([gain] if gain else [])),
        written=delivery.written,
    )


_LARGE = 1 << 30


@dataclass(frozen=True)
class _Made:
    """A model in half, and what is known of it; ``proposal`` are inputs to prove it on."""

    model: Model
    done: Converted
    kept: tuple[Skip, ...]
    proposal: Proposal | None
    notes: tuple[str, ...]
    cast_share: float | None


def _made(origin: Model, path: Path, options: Options, seed: int, *, needed: bool) -> _Made:
    """Choose and convert; inputs are ``needed`` where the result is to be verified."""
    # First, because it opens the model: what ONNX Runtime refuses is no graph to work on.
    evidence, proposal, notes = _evidence(path, options, seed, needed=needed)
    copy = prepared(origin, options.half)
    refuse(copy, path, options.step)
    wishes = Wishes(options.patterns, options.half_io, options.target)
    progress.step("choosing precision")
    ranges = find_ranges(copy, options.half, evidence)
    if options.mixed and proposal is not None:
        found = _mixed(copy, path, options, evidence, wishes, ranges, proposal)
        wishes = replace(wishes, float_names=found.names)
        notes = (*notes, found.note())
    types, keep = make_plan(copy, options.half, evidence, wishes, ranges)
    kept, why = _skips(types, keep), reasons(types, keep)
    done = convert(copy, types)
    if not done.in_half:
        raise nothing(path, options.step, why)
    return _Made(copy, done, kept, proposal, notes, cast_share(done.cast_values, ranges))


def _evidence(
    path: Path, options: Options, seed: int, *, needed: bool
) -> tuple[Evidence, Proposal | None, tuple[str, ...]]:
    """Inputs, or without verification also none."""
    try:
        evidence, proposal = read(path, options, seed)
    except CheckFailed as error:
        if needed:
            raise
        text = f"ranges were not measured: {error.message}"
        progress.warn(text)
        return Evidence(), None, (text,)
    return evidence, proposal, ()


def _mixed(
    model: Model,
    path: Path,
    options: Options,
    evidence: Evidence,
    wishes: Wishes,
    ranges: Mapping[str, Range],
    proposal: Proposal,
) -> Found:
    trials = [feeds for feeds, _ in proposal.trials]
    with open_session(path, optimize=False) as session:
        expected = [session.run(feeds) for feeds in trials]
    search = Search(
        model, options.half, evidence, wishes, ranges, options.tolerance, trials, expected
    )
    return find_float_nodes(search)


def _delivered(made: _Made, target: Path, terms: Terms, options: Options, path: Path) -> Delivery:
    untimed = ""
    if options.step != "fp16" or options.half_io:
        untimed = "it does not run here as it does where half is real"
    elif _is_large(made.model):
        untimed = "ONNX Runtime would hold a copy of all weights in float"

    def stand_in(result: Path, folder: Path) -> Path:
        progress.step("opening the result")
        check_opens(result, path, options.step, optimize=not _is_large(made.model))
        return simulated_file(result, folder, path)

    try:
        return deliver(
            made.model,
            target,
            terms,
            step=options.step,
            source=path,
            proposal=made.proposal,
            untimed=untimed,
            proof=Proof(options.tolerance, stand_in, for_size=True),
        )
    except CheckFailed as error:
        if error.code != "outputs-differ":
            raise
        raise unlike(error, options.step, mixed=options.mixed) from None


def _forget_types(model: Model, origin: Model) -> None:
    """Leave out what conversion had to find out and the source does not say: it costs bytes."""
    said = {
        value.name for node in nodes(origin) for value in node.outputs if value.type is not None
    }
    for node in nodes(model):
        for value in node.outputs:
            if value.name not in said and not value.is_graph_output():
                value.type = value.shape = None


def _is_large(model: Model) -> bool:
    weights = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in weights if tensor is not None) > _LARGE


def _skips(types: Types, keep: Keep) -> tuple[Skip, ...]:
    found = []
    for node, slots in types.slots.items():
        reason = keep.get(node) or slots.obstacle
        if reason:
            name = node.name or node.outputs[0].name or ""
            found.append(Skip(safe(name), safe(node.op_type), reason))
    return tuple(found)


def _unchanged(
    before: FileFacts, target: Path, options: Options, recipe: dict[str, Any]
) -> PrecisionReport:
    found = unchanged(load(target), target, options.step)
    return PrecisionReport(
        source=before,
        result=found.result,
        half=options.step,
        options={name: str(value) for name, value in recipe.items()},
        in_half=0,
        kept=(),
        casts=0,
        casts_removed=0,
        cast_share=None,
        verification=found.verification,
        speed=found.speed,
        up_to_date=True,
        written=found.written,
    )
