"""``quantize``: layers in eight bits, gated by accuracy and speed."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from modelkit import progress
from modelkit.deliver import Terms, deliver, up_to_date
from modelkit.errors import BadInput, CheckFailed, Unsupported, UsageError
from modelkit.model import (
    Model,
    add_step,
    check_target,
    clone,
    facts,
    load,
    sha256,
    strip_debug,
)
from modelkit.passes import run_passes
from modelkit.passes.convert_opset import convert_opset
from modelkit.passes.fold_constants import fold_constants
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.inline_functions import inline_functions
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.remove_identity import remove_identity
from modelkit.passes.remove_unused import remove_unused
from modelkit.quantize import islands
from modelkit.quantize.dynamic import Outcome, Quantizer, already_quantized
from modelkit.quantize.weights import Packer
from modelkit.reports import FileFacts, QuantizeReport, SpeedVerdict, Verification
from modelkit.rewrite import apply, read_fusion
from modelkit.safe import safe

_PREPARE = (
    inline_functions,
    remove_unused,
    lift_constants,
    infer_symbols,
    fold_constants,
    remove_identity,
    remove_unused,
)

_OLDEST_OPSET = 11  # DynamicQuantizeLinear
_RAISED_OPSET = 13
_TREES = ("TreeEnsemble", "SVM", "LinearClassifier", "LinearRegressor")


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
    copy = clone(model)
    opset = copy.graph.opset_imports.get("", 0)
    if 0 < opset < _OLDEST_OPSET:
        convert_opset(copy, _RAISED_OPSET)
    run_passes(copy, _PREPARE)
    apply([read_fusion(islands)], copy, allow=lambda fusion: None)
    run_passes(copy, (remove_unused, infer_symbols))
    quantizer = Quantizer(
        Packer(per_channel, unsigned=weight_type == "uint8"),
        tuple(_pattern(text) for text in exclude),
        exclude_op,
    )
    outcome = quantizer.run(copy)
    run_passes(copy, (remove_unused,))
    return copy, outcome


def quantize_file(
    source: str,
    output: str | None = None,
    *,
    mode: str = "dynamic",
    per_channel: bool = True,
    weight_type: str = "int8",
    exclude: list[str] | None = None,
    exclude_op: list[str] | None = None,
    force: bool = False,
    verify: bool = True,
    measure: bool = True,
    seed: int = 0,
    dry_run: bool = False,
) -> QuantizeReport:
    """Quantize the model at ``source`` into ``output``, by default ``<stem>.int8.onnx`` beside it.

    Raises:
        CheckFailed: nothing could be quantized, the accuracy is lost, or the result is slower;
            nothing was written, and the text says why and what to try.
        BadInput: it is quantized already, or not a neural network.
    """
    path = Path(source)
    target = Path(output) if output else path.parent / f"{path.stem}.int8.onnx"
    recipe: dict[str, Any] = {
        "mode": mode,
        "per_channel": per_channel,
        "weight_type": weight_type,
        "exclude": sorted(exclude or []),
        "exclude_op": sorted(exclude_op or []),
    }
    progress.step("reading")
    origin = load(path)
    before, digest = facts(origin, path), sha256(path)
    if not (force or dry_run) and up_to_date(target, "quantize", recipe, digest):
        return _unchanged(before, target, recipe)
    _refuse(origin, path)
    if not dry_run:
        check_target(target, force=force)
    progress.step("quantization")
    result, outcome = quantize(
        origin,
        per_channel=per_channel,
        weight_type=weight_type,
        exclude=tuple(exclude or ()),
        exclude_op=tuple(exclude_op or ()),
    )
    if outcome.quantized == 0:
        raise _nothing(path, outcome)
    strip_debug(result)
    decisions = [f"{outcome.quantized} of {outcome.candidates} layers quantized"]
    add_step(result, "quantize", recipe, digest, decisions)
    terms = Terms(force=force, verify=verify, measure=measure, dry_run=dry_run, seed=seed)
    delivery = deliver(result, target, terms, step="int8", source=path)
    if not delivery.speed.kept:
        raise _slower(path, delivery.speed)
    return QuantizeReport(
        source=before,
        result=delivery.result,
        mode=mode,
        options={name: str(value) for name, value in recipe.items()},
        candidates=outcome.candidates,
        quantized=outcome.quantized,
        skips=tuple(outcome.skips),
        verification=delivery.verification,
        speed=delivery.speed,
        written=delivery.written,
    )


def _refuse(model: Model, path: Path) -> None:
    found = next(already_quantized(model), None)
    if found is not None:
        raise BadInput(
            f"{safe(str(path))} is quantized already",
            cause=f"it holds {safe(found)}",
            hint="quantize the float model it came from",
            code="already-quantized",
        )
    trees = [n.op_type for n in model.graph.all_nodes() if n.op_type.startswith(_TREES)]
    if trees:
        raise Unsupported(
            f"{safe(str(path))} is not a neural network",
            cause=f"{trees[0]} compares and adds; it has no weights that eight bits would speed up",
            hint="leave it as it is",
            code="not-quantizable",
        )


def _nothing(path: Path, outcome: Outcome) -> CheckFailed:
    reasons = Counter(f"{skip.op}: {skip.reason}" for skip in outcome.skips)
    causes = [f"{count} x {reason}" for reason, count in reasons.most_common(6)]
    return CheckFailed(
        f"nothing in {safe(str(path))} can be quantized dynamically",
        cause="\n".join(causes) or "it holds no linear layer with constant weights",
        hint="nothing was written",
        code="nothing-quantized",
    )


def _slower(path: Path, speed: SpeedVerdict) -> CheckFailed:
    ratio = f"{speed.ratio.median:.2f}x" if speed.ratio else "slower"
    return CheckFailed(
        f"{safe(str(path))} is slower in eight bits ({ratio})",
        cause="quantizing the activations costs more than the integer products save; small"
        " layers and short inputs are dominated by it",
        hint="nothing was written; --no-measure keeps it for its size",
        code="slower",
    )


def _unchanged(before: FileFacts, target: Path, recipe: dict[str, Any]) -> QuantizeReport:
    reason = "the output is up to date"
    return QuantizeReport(
        source=before,
        result=facts(load(target), target),
        mode=str(recipe["mode"]),
        options={name: str(value) for name, value in recipe.items()},
        candidates=0,
        quantized=0,
        skips=(),
        verification=Verification("int8", "", True, "", (), skipped=reason),
        speed=SpeedVerdict(None, True, reason),
        up_to_date=True,
        written=str(target),
    )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(
            f"--exclude {safe(text)} is no regular expression", cause=str(error)
        ) from None
