"""``quantize``: layers in fewer bits, gated by accuracy and speed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelkit import progress
from modelkit.deliver import (
    Delivery,
    Proof,
    Terms,
    deliver,
    note_data,
    threads_to_time,
    unchanged,
    up_to_date,
)
from modelkit.errors import CheckFailed, UsageError
from modelkit.model import Model, add_step, check_target, facts, load, sha256, strip_debug
from modelkit.quantize.auto import auto
from modelkit.quantize.data import compared_on
from modelkit.quantize.modes import MODES, Made, dynamic, guards, restored
from modelkit.quantize.options import WEIGHT_ONLY, Options, checked
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.refusals import (
    nothing,
    refuse,
    slow_but_small,
    slower,
    too_coarse,
    unmatched,
)
from modelkit.reports import FileFacts, QuantizeReport
from modelkit.runtime.data.settings import keep_settings
from modelkit.runtime.session import use_custom_ops
from modelkit.safe import safe

_STEPS = {mode: mode for mode in WEIGHT_ONLY}
_KINDS = {**MODES, "auto": auto}
_ENDINGS = {"int4": "int4", "int8-weights": "int8w"}


def quantize(
    model: Model,
    *,
    per_channel: bool = True,
    weight_type: str = "int8",
    exclude: tuple[str, ...] = (),
    exclude_op: tuple[str, ...] = (),
) -> tuple[Model, Outcome]:
    """Quantize a copy of ``model`` dynamically; nothing is verified here.

    Weights behind Transpose, Identity, Cast, Constant and functions are folded first, and linear
    layers written as convolutions turned back.

    Raises:
        Unsupported: an opset that cannot be raised to 11.
        UsageError: an ``exclude`` that is no regular expression.
    """
    options = Options(
        per_channel=per_channel, weight_type=weight_type, exclude=exclude, exclude_op=exclude_op
    )
    made = dynamic(model, Path(), options, 0)
    return made.model, made.outcome


def quantize_file(
    source: str,
    output: str | None = None,
    *,
    mode: str = "dynamic",
    force: bool = False,
    verify: bool = True,
    measure: bool = True,
    seed: int = 0,
    dry_run: bool = False,
    custom_ops: Sequence[str] = (),
    **chosen: Any,
) -> QuantizeReport:
    """Quantize the model at ``source`` into ``output``, by default ``<stem>.int8.onnx`` beside it.

    ``mode`` is "auto" or a row of ``modes.MODES``, ``chosen`` are fields of :class:`Options`.

    Raises:
        CheckFailed: nothing could be quantized, the accuracy is lost, or the result is slower;
            nothing was written, and the text says why and what to try.
        BadInput: it is quantized already, or not a neural network.
        UsageError: no such mode, or options that contradict each other.
    """
    use_custom_ops(custom_ops)
    if mode not in _KINDS:
        raise UsageError(f"no quantization is called '{safe(mode)}'", hint=", ".join(_KINDS))
    for name in ("exclude", "exclude_op"):
        chosen[name] = tuple(chosen.get(name) or ())
    options = checked(Options(mode=mode, race=measure, **chosen))
    path = Path(source)
    ending = _ENDINGS.get(mode, "int8")
    target = Path(output) if output else path.parent / f"{path.stem}.{ending}.onnx"
    recipe = options.recipe()
    settled = note_data(recipe, options.calib_data) and options.eval_data is None
    progress.step("reading")
    origin = load(path)
    before, digest = facts(origin, path), sha256(path)
    if settled and not (force or dry_run) and up_to_date(target, "quantize", recipe, digest):
        return _unchanged(before, target, recipe)
    refuse(origin, path)
    if not dry_run:
        check_target(target, force=force)
    progress.step("quantization")
    made = _made(origin, path, options, seed)
    missed = unmatched(origin, made.outcome, options)
    for line in missed:
        progress.warn(line)
    if made.outcome.quantized == 0:
        raise nothing(path, made.outcome, mode)
    strip_debug(made.model)
    keep_settings(made.model, options.preprocessing)
    notes = (*made.notes, *restored(origin, made.model), *guards(options))
    decisions = [f"{made.outcome.quantized} of {made.outcome.candidates} layers quantized"]
    add_step(made.model, "quantize", recipe, digest, [*decisions, *notes])
    terms = Terms(force=force, verify=verify, measure=measure, dry_run=dry_run, seed=seed)
    delivery = _delivered(made, target, terms, path, options)
    if made.gated and not delivery.speed.kept:
        raise slower(path, made.model, made.outcome, delivery.speed, mode)
    return QuantizeReport(
        source=before,
        result=delivery.result,
        mode=mode,
        options={name: str(value) for name, value in recipe.items()},
        candidates=made.outcome.candidates,
        quantized=made.outcome.quantized,
        skips=tuple(made.outcome.skips),
        verification=delivery.verification,
        speed=delivery.speed,
        notes=(*notes, *missed, *slow_but_small(delivery.speed, mode)),
        written=delivery.written,
        layers=made.noise(),
        points=made.points,
    )


def _made(origin: Model, source: Path, options: Options, seed: int) -> Made:
    check = None
    if options.eval_data is not None and options.mode != "auto":
        check = compared_on(source, options)  # before the work, which a bad file would waste
    made = _KINDS[options.mode](origin, source, options, seed)
    return made if check is None else replace(made, check=check)


def _delivered(made: Made, target: Path, terms: Terms, source: Path, options: Options) -> Delivery:
    try:
        return deliver(
            made.model,
            target,
            replace(terms, threads=threads_to_time(options.intra_op)),
            step=made.step,
            source=source,
            proposal=made.check,
            proof=Proof(tolerance=made.tolerance, for_size=not made.gated),
        )
    except CheckFailed as error:
        if made.step not in WEIGHT_ONLY or error.code != "outputs-differ":
            raise
        raise too_coarse(error, options) from None


def _unchanged(before: FileFacts, target: Path, recipe: dict[str, Any]) -> QuantizeReport:
    found = unchanged(load(target), target, _STEPS.get(str(recipe["mode"]), "int8"))
    return QuantizeReport(
        source=before,
        result=found.result,
        mode=str(recipe["mode"]),
        options={name: str(value) for name, value in recipe.items()},
        candidates=0,
        quantized=0,
        skips=(),
        verification=found.verification,
        speed=found.speed,
        up_to_date=True,
        written=found.written,
    )
