"""Static quantization: activation ranges found once, from calibration data.

The order is that of what each step needs: channels are balanced (equalization, SmoothQuant) before
ranges are taken, biases corrected after, where eight bits come, and those come last.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from modelkit import progress
from modelkit.model import Model, clone
from modelkit.model.walk import inside
from modelkit.passes import run_passes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.remove_unused import remove_unused
from modelkit.quantize import island_gates, island_swish
from modelkit.quantize.biases import spare_biases
from modelkit.quantize.dynamic import Quantizer
from modelkit.quantize.embeddings import Tables
from modelkit.quantize.emit import Form, emit
from modelkit.quantize.equalize import equalize
from modelkit.quantize.fallback import fall_back
from modelkit.quantize.linears import normalize_linears
from modelkit.quantize.local_error import LocalError, correct_biases, local_errors
from modelkit.quantize.observe import Samples
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.plan import Plan, make_plan
from modelkit.quantize.prepare import prepared
from modelkit.quantize.ranges import Range, find_ranges
from modelkit.quantize.recurrent import Recurrent
from modelkit.quantize.smooth import Smoothed, smooth
from modelkit.quantize.weights import Packer, is_weight
from modelkit.rewrite import apply, read_fusion

_OLDEST_OPSET = 13
_UNSEEN = (
    "it is in a body of If, Loop or Scan, which calibration data is not followed into; --format"
    " qop or --dynamic reach it"
)


@dataclass(frozen=True)
class Recipe:
    """Which steps, and how; ``calibration`` is "auto" or one of ``ranges.METHODS``.

    ``thrifty``: smoothing that costs a Mul must earn it.  ``coarse_states``: one scale for all
    gates where an LSTM multiplies its state.
    """

    form: Form = field(default_factory=Form)
    calibration: str = "auto"
    smoothing: bool = True
    thrifty: bool = True
    equalization: bool = True
    correction: bool = True
    coarse_states: bool = False
    exclude: tuple[re.Pattern[str], ...] = ()
    exclude_op: tuple[str, ...] = ()


@dataclass
class Calibrated:
    """A float model ready for eight bits, and what is known of it."""

    model: Model
    ranges: dict[str, Range]
    errors: dict[str, LocalError]
    smoothed: Sequence[Smoothed]
    balanced: int
    spared: int = 0
    corrected: int = 0


def quantize_static(
    model: Model, samples: Samples, recipe: Recipe, *, keep: frozenset[str] = frozenset()
) -> tuple[Model, Outcome, Calibrated]:
    """Quantize a copy of ``model``; ``keep`` are layers that stay in float.

    Raises:
        CheckFailed: calibration met NaN or infinity, or no sample.
    """
    calibrated = calibrate(model, samples, recipe)
    result, outcome = compress(calibrated, recipe, keep)
    return result, outcome, calibrated


def calibrate(model: Model, samples: Samples, recipe: Recipe) -> Calibrated:
    """Balance channels, find ranges and errors: all that needs data, still in float."""
    copy = prepared(model, _OLDEST_OPSET)
    normalize_linears(copy)
    if recipe.form.qop:
        apply(
            [read_fusion(each) for each in (island_gates, island_swish)],
            copy,
            allow=lambda fusion: None,
        )
    run_passes(copy, (remove_unused, infer_symbols))
    balanced = equalize(copy) if recipe.equalization else 0
    spared = spare_biases(copy.graph)
    plan = _plan(copy, Outcome(), recipe, frozenset())
    smoothed: Sequence[Smoothed] = ()
    if recipe.smoothing:
        progress.step("smoothing")
        largest, thrifty = recipe.form.largest, recipe.thrifty
        smoothed = smooth(copy, plan, samples, largest=largest, thrifty=thrifty)
    run_passes(copy, (remove_unused, infer_symbols))
    plan = _plan(copy, Outcome(), recipe, frozenset())
    progress.step("calibration")
    ranges = find_ranges(copy, _methods(plan, recipe.calibration), samples)
    progress.step("layer errors")
    errors = local_errors(copy, plan, ranges, recipe.form, samples)
    return Calibrated(copy, ranges, errors, smoothed, balanced, spared)


def compress(
    calibrated: Calibrated,
    recipe: Recipe,
    keep: frozenset[str] = frozenset(),
    *,
    blocks: bool = True,
) -> tuple[Model, Outcome]:
    """The calibrated model in eight bits, but for the layers called ``keep``.

    With ``blocks`` linear ones of them take weights in blocks where the form allows it; the others
    stay in float.
    """
    copy = clone(calibrated.model)
    outcome = Outcome()
    plan = _plan(copy, outcome, recipe, keep)
    if recipe.correction:
        calibrated.corrected = correct_biases(copy.graph, plan, calibrated.errors)
        spare_biases(copy.graph)  # corrections are so small that the ranges still hold
    if keep and blocks and recipe.form.qop:
        fall_back(copy.graph, keep, outcome)
    emit(copy.graph, plan, calibrated.ranges, recipe.form)
    tables = Tables()
    for node in plan.tables:
        reason = tables.shrink(node, copy.graph)
        assert reason is None, reason
    recurrent = Recurrent(
        recipe.form.per_channel, recipe.form.qop, recipe.form.largest, recipe.coarse_states
    )
    for node in plan.recurrent:
        reason = recurrent.replace(node, copy.graph)
        assert reason is None, reason
    _quantize_bodies(copy, recipe, outcome)
    if any(node.domain == "com.microsoft" for node in copy.graph):
        copy.graph.opset_imports.setdefault("com.microsoft", 1)
    run_passes(copy, (remove_unused,))
    return copy, outcome


def _quantize_bodies(model: Model, recipe: Recipe, outcome: Outcome) -> None:
    """Layers in bodies find their ranges at run time, where the operators for it may be used."""
    if recipe.form.qop:
        packer = Packer(recipe.form.per_channel, unsigned=False, largest=recipe.form.largest)
        Quantizer(packer, recipe.exclude, recipe.exclude_op, outcome).run_bodies(model)
        return
    for node in inside(model.graph):
        layer = node.graph is not model.graph and node.op_type in ("MatMul", "Gemm", "Conv")
        if layer and any(is_weight(value) for value in node.inputs):
            outcome.candidates += 1
            outcome.skip(node, _UNSEEN)


def tables_of(calibrated: Calibrated, recipe: Recipe) -> list[str]:
    """Names of the nodes that read embedding tables."""
    plan = _plan(calibrated.model, Outcome(), recipe, frozenset())
    return [node.name or "" for node in plan.tables]


def _methods(plan: Plan, calibration: str) -> dict[str, str]:
    """How the range of each tensor is found.

    By itself: all values where a linear layer reads, whose outliers carry the most (a percentile
    there destroys encoders), the smallest squared error between convolutions.
    """
    if calibration != "auto":
        return dict.fromkeys(plan.tensors(), calibration)
    read = {layer.x.name for layer in plan.layers if not layer.is_conv}
    return {name: "minmax" if name in read else "mse" for name in plan.tensors()}


def _plan(model: Model, outcome: Outcome, recipe: Recipe, keep: frozenset[str]) -> Plan:
    _name_nodes(model.graph)
    return make_plan(
        model,
        outcome,
        exclude=recipe.exclude,
        exclude_op=recipe.exclude_op,
        keep=keep,
        float_stems=recipe.form.qop,
    )


def _name_nodes(graph: ir.Graph) -> None:
    """Give every layer a name of its own, which the steps know it by."""
    taken: set[str] = set()
    for node in graph:
        stem = name = node.name or f"{node.op_type}_{node.outputs[0].name}"
        number = 0
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        node.name = name
        taken.add(name)
