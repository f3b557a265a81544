"""The kinds of quantization, each a function of a model that gives another and tells about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelkit import progress
from modelkit.model import Model
from modelkit.model.facts import operator_counts
from modelkit.passes import run_passes
from modelkit.passes.remove_unused import remove_unused
from modelkit.passes.restore_recurrences import NOTE
from modelkit.quantize import data
from modelkit.quantize.dynamic import Quantizer
from modelkit.quantize.options import Options
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.prepare import prepared
from modelkit.quantize.static import Calibrated, Recipe, quantize_static
from modelkit.quantize.weight_only import WeightOnly
from modelkit.quantize.weights import Packer
from modelkit.reports import LayerNoise, Point
from modelkit.runtime.compare import Tolerance
from modelkit.runtime.feeds import Proposal
from modelkit.safe import safe

_OLDEST_OPSET = 11  # DynamicQuantizeLinear


@dataclass(frozen=True)
class Made:
    """A quantized model: ``step`` names its tolerance, ``check`` real inputs to verify on.

    Where it is not ``gated`` it is written for its size, though it be slower.  ``points`` are the
    candidates it was chosen from, ``tolerance`` takes the place of the step's.
    """

    model: Model
    outcome: Outcome
    step: str = "int8"
    gated: bool = True
    check: Proposal | None = None
    notes: tuple[str, ...] = ()
    layers: tuple[LayerNoise, ...] = ()
    points: tuple[Point, ...] = ()
    tolerance: Tolerance | None = None
    late: Callable[[], tuple[LayerNoise, ...]] | None = None

    def noise(self) -> tuple[LayerNoise, ...]:
        """Each layer's own error; of those rounded while writing it is known only then."""
        return self.layers if self.late is None else self.late()


def dynamic(model: Model, source: Path, options: Options, seed: int) -> Made:
    """Ranges of activations found at run time."""
    del source, seed
    copy = prepared(model, _OLDEST_OPSET)
    outcome = Quantizer(packer_of(options), options.patterns, options.exclude_op).run(copy)
    run_passes(copy, (remove_unused,))
    return Made(copy, outcome)


def static(model: Model, source: Path, options: Options, seed: int) -> Made:
    """Ranges of activations found once, from calibration data."""
    progress.step("reading calibration data")
    found = data.read(source, options, seed)
    result, outcome, calibrated = quantize_static(model, found.samples, recipe_of(options))
    notes = (f"calibrated on {found.count} samples", *told(calibrated, outcome), *found.notes)
    return Made(result, outcome, check=found.check, notes=notes, layers=noises(calibrated))


def weights_only(model: Model, source: Path, options: Options, seed: int) -> Made:
    """Weights in blocks of 4 or 8 bits, activations in float; 4 bits led by data if any."""
    found = None
    if options.calib_data is not None:
        progress.step("reading calibration data")
        found = data.read(source, options, seed)
    blocks = options.blocks()
    led = found.samples if found is not None and blocks.bits < 8 else None
    job = WeightOnly(blocks, led, options.patterns, options.exclude_op)
    result = job.run(model)
    notes = [f"blocks of {blocks.size}, {'' if blocks.symmetric else 'a'}symmetric"]
    notes += job.outcome.note("they are rounded without it")
    if job.merged:
        notes.append(f"{job.merged} groups of layers that read one activation merged")
    if job.guided:
        count = found.count if found is not None else 0
        notes.append(f"{job.guided} layers rounded by what they compute on {count} samples")
    kept = [f"{job.heads} of the last layers"] if job.heads else []
    kept += [f"{job.tables} tables"] if job.tables else []
    if kept and blocks.bits < 8:
        notes.append(f"in 8 bits: {', '.join(kept)}")
    if found is not None:
        notes += found.notes
    return Made(
        result,
        job.outcome,
        step=options.mode,
        gated=False,
        check=found.check if found is not None else None,
        notes=tuple(notes),
        late=lambda: sorted_noises(job.noise),
    )


def recipe_of(options: Options) -> Recipe:
    """The steps of static quantization that ``options`` ask for."""
    return Recipe(
        form=options.form(),
        calibration=options.calibration,
        smoothing=options.smoothing,
        exclude=options.patterns,
        exclude_op=options.exclude_op,
    )


def packer_of(options: Options) -> Packer:
    """How layers that find their ranges at run time keep their weights."""
    unsigned = options.weight_type == "uint8"
    return Packer(options.per_channel, unsigned, largest=options.form().largest)


def guards(options: Options) -> tuple[str, ...]:
    """What this processor asks for, a line each."""
    if not options.guarded:
        return ()
    return (
        "weights keep 7 bits: this processor has no VNNI, and the sums of two products of bytes"
        " would overflow; a model for others is better made on one of them",
    )


def restored(origin: Model, result: Model) -> tuple[str, ...]:
    """What became of loops that are recurrent layers."""
    count = operator_counts(origin).get("Loop", 0) - operator_counts(result).get("Loop", 0)
    if count <= 0:
        return ()
    became = "1 loop became the recurrent layer that it is"
    if count > 1:
        became = f"{count} loops became the recurrent layers that they are"
    return (f"{became}; {NOTE}",)


def told(calibrated: Calibrated, outcome: Outcome) -> tuple[str, ...]:
    """What was done before the eight bits came, and where without data, a line each."""
    notes = []
    if calibrated.balanced:
        notes.append(f"{calibrated.balanced} pairs of convolutions equalized")
    if calibrated.smoothed:
        folded = sum(each.folded for each in calibrated.smoothed)
        notes.append(
            f"{len(calibrated.smoothed)} activations smoothed, {folded} of them at no cost"
        )
    if calibrated.spared:
        notes.append(f"{calibrated.spared} biases moved where they cost nothing")
    if calibrated.corrected:
        notes.append(f"{calibrated.corrected} biases corrected")
    notes += outcome.note("their ranges are found at run time")
    return tuple(notes)


def noises(calibrated: Calibrated) -> tuple[LayerNoise, ...]:
    """Each layer's own error, the noisiest first."""
    return sorted_noises({name: error.sqnr for name, error in calibrated.errors.items()})


def sorted_noises(decibels: Mapping[str, float]) -> tuple[LayerNoise, ...]:
    """Errors by name as a report has them, the noisiest first."""
    found = [LayerNoise(safe(name), round(value, 2)) for name, value in decibels.items()]
    return tuple(sorted(found, key=lambda each: each.sqnr))


MODES: dict[str, Callable[[Model, Path, Options, int], Made]] = {
    "dynamic": dynamic,
    "static": static,
    "int8-weights": weights_only,
    "int4": weights_only,
}

__all__ = ["MODES", "Made", "dynamic", "noises", "recipe_of", "static", "told", "weights_only"]
