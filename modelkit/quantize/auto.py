"""``--auto``: candidates by kind of model, until one keeps what the user wants kept; the fastest.

With calibration data all layers are first computed in eight bits with known ranges, and with ranges
found at run time.  Where neither is near enough, the layers that lose most alone fall back to a
finer form, as few as it takes.  Last come weights in blocks, with activations in float.
"""

import tempfile
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from modelkit import progress
from modelkit.errors import CheckFailed
from modelkit.model import Model, clone, facts, load, save
from modelkit.passes import run_passes
from modelkit.passes.remove_unused import remove_unused
from modelkit.quantize import data, modes
from modelkit.quantize.dynamic import Quantizer
from modelkit.quantize.goal import Goal, Judge, read_goal
from modelkit.quantize.modes import Made
from modelkit.quantize.options import Options
from modelkit.quantize.search import fewest
from modelkit.quantize.static import Calibrated, Recipe, calibrate, compress, tables_of
from modelkit.reports import Point
from modelkit.runtime.bench import TOO_SHORT, interleave, onnx_candidate, ratio
from modelkit.runtime.compare import TOLERANCES, Tolerance
from modelkit.runtime.feeds import propose, typical_feeds
from modelkit.runtime.session import Setup, open_session
from modelkit.safe import safe

_SEEDED = 16
_RACED = 6
_RACE_SECONDS = 0.5
_ALIKE = 1.03
_LOOSEST = 5.0
_SMALLER = 0.9
_SURELY_SLOWER = 0.98


@dataclass
class Trial:
    """A candidate that was made and judged; ``path`` is where it lies for the race."""

    point: Point
    made: Made
    path: Path


@dataclass
class Trials:
    """Candidates in the order they were judged, and what they are judged by."""

    goal: Goal
    judge: Judge
    folder: Path
    float_bytes: int
    short: bool = False  # a run of the float model is mostly overhead
    done: list[Trial] = field(default_factory=list)

    def take(self, name: str, made: Made, kept: int = 0) -> bool:
        """Judge one more; whether it meets the goal."""
        if made.outcome.quantized == 0:
            return False
        progress.step(f"judging {name}")
        path = save(made.model, self.folder / f"{len(self.done)}.onnx")
        size = sum(file.stat().st_size for file in self.folder.glob(f"{len(self.done)}.onnx*"))
        point = self.judge.judge(name, path, size, kept)
        point = replace(point, meets=point in self.goal)
        self.done.append(Trial(point, made, path))
        return point.meets

    @property
    def met(self) -> list[Trial]:
        """Those that meet the goal and are worth having: clearly smaller, and not slower.

        Who wants the smallest whatever its speed has none timed.
        """
        return [trial for trial in self.done if trial.point.meets and self._is_worth(trial)]

    def _is_worth(self, trial: Trial) -> bool:
        if trial.point.bytes > _SMALLER * self.float_bytes:
            return False
        ratio = trial.point.ratio
        return ratio is None or ratio.high >= _SURELY_SLOWER


def auto(model: Model, source: Path, options: Options, seed: int) -> Made:
    """The fastest candidate that meets the goal of ``options``.

    Raises:
        CheckFailed: none does; the text tells how near the best came.
    """
    goal = read_goal(options.min_sqnr, options.min_agreement, options.max_drop)
    found = None
    if options.calib_data is not None or options.random_data:
        progress.step("reading calibration data")
        found = data.read(source, options, seed)
    judge, told = _judge(source, options, found, seed)
    progress.step("running the float model")
    judge.prepare()
    with tempfile.TemporaryDirectory(prefix="modelkit-") as name:
        trials = Trials(goal, judge, Path(name), facts(model, source).bytes)
        if found is not None:
            _calibrated(model, options, found, trials)
        else:
            trials.take("dynamic", modes.dynamic(model, source, options, seed))
        if not trials.met:
            weights = replace(options, mode="int8-weights", calib_data=None)
            made = modes.weights_only(model, source, weights, seed)
            trials.take("8-bit weights in blocks", made)
        if options.race and trials.met:
            _race(source, trials, seed, options.intra_op or 1)
        best = _best(trials, source)
    notes = [f"goal {goal} met on {told}", *judge.note(goal)]
    if found is not None:
        notes += [f"calibrated on {found.count} samples", *found.notes]
    points = tuple(replace(trial.point, chosen=trial is best) for trial in trials.done)
    return replace(
        best.made,
        check=found.check if found is not None else None,
        notes=(best.point.name, *notes, *best.made.notes),
        points=points,
        tolerance=_tolerance(goal),
    )


def _judge(source: Path, options: Options, found: data.Data | None, seed: int) -> tuple[Judge, str]:
    """What candidates are judged on: evaluation data, samples kept aside, or seeded ones."""
    if options.eval_data is not None:
        samples, told = data.evaluation(source, options)
    elif found is not None:
        kept = [feeds for feeds, _ in found.check.trials]
        samples, told = (lambda: iter(kept)), found.check.source
    else:
        with open_session(source, optimize=False) as session:
            made = propose(load(source), session.run, seed=seed, count=_SEEDED)
        drawn = [feeds for feeds, _ in made.trials]
        samples, told = (lambda: iter(drawn)), f"generated inputs ({made.source})"
        progress.warn("judged on generated inputs; give --eval-data before you rely on it")
    return Judge(source, samples, options.labels, options.metric), told


def _calibrated(model: Model, options: Options, found: data.Data, trials: Trials) -> None:
    """Candidates that need calibration data."""
    recipe = modes.recipe_of(options)
    calibrated = calibrate(model, found.samples, recipe)
    meets = _static(calibrated, recipe, "static", trials)
    if not meets and recipe.smoothing:
        recipe = replace(recipe, thrifty=False)
        thorough = calibrate(model, found.samples, recipe)
        if len(thorough.smoothed) > len(calibrated.smoothed):
            calibrated = thorough
            meets = _static(calibrated, recipe, "static, smoothed throughout", trials)
    if any(node.op_type == "LSTM" for node in calibrated.model.graph):
        coarse = replace(recipe, coarse_states=True)
        meets |= _static(calibrated, coarse, "static, one scale for the states of an LSTM", trials)
    _dynamic(model, calibrated, options, trials)
    if not trials.met and not meets:
        _finer(calibrated, recipe, trials)


def _static(
    calibrated: Calibrated,
    recipe: Recipe,
    name: str,
    trials: Trials,
    keep: frozenset[str] = frozenset(),
    *,
    blocks: bool = True,
) -> bool:
    """Try one with the layers called ``keep`` in blocks or in float; whether it meets the goal."""
    result, outcome = compress(calibrated, recipe, keep, blocks=blocks)
    notes, layers = modes.told(calibrated, outcome), modes.noises(calibrated)
    return trials.take(name, Made(result, outcome, notes=notes, layers=layers), len(keep))


def _dynamic(model: Model, calibrated: Calibrated, options: Options, trials: Trials) -> None:
    copy = clone(calibrated.model)
    outcome = Quantizer(modes.packer_of(options), options.patterns, options.exclude_op).run(copy)
    run_passes(copy, (remove_unused,))
    if 2 * outcome.quantized < outcome.candidates:
        return
    notes, layers = modes.told(replace(calibrated, corrected=0), outcome), modes.noises(calibrated)
    trials.take("dynamic", Made(copy, outcome, notes=notes, layers=layers))
    if trials.met and not all(each.folded for each in calibrated.smoothed):
        # Each activation that is smoothed by a Mul costs time that the goal may not need.
        plain = modes.dynamic(model, trials.judge.origin, options, 0)
        trials.take("dynamic, not smoothed", replace(plain, layers=layers))


def _finer(calibrated: Calibrated, recipe: Recipe, trials: Trials) -> None:
    """The fewest of the noisiest layers in blocks, or else in float."""

    def attempt(keep: frozenset[str], *, blocks: bool = True) -> bool:
        if not keep:
            return False  # tried before
        name = f"static, {len(keep)} {'finer' if blocks else 'in float'}"
        return _static(calibrated, recipe, name, trials, keep, blocks=blocks)

    ranking = [layer.node for layer in modes.noises(calibrated)]
    ranking += tables_of(calibrated, recipe)
    if fewest(ranking, attempt) is None:
        # Blocks are not near enough everywhere; with all in float nothing would be left to do.
        fewest(ranking[:-1], partial(attempt, blocks=False))


def _race(source: Path, trials: Trials, seed: int, threads: int) -> None:
    """Time the candidates that matter beside the float model."""
    progress.step("timing the candidates")
    raced = [*trials.done[:3], *trials.met[-_RACED:]]
    raced = list({id(trial): trial for trial in raced}.values())
    setup = Setup(threads=threads)
    paths = [source, *(trial.path for trial in raced)]
    runners = [onnx_candidate(path, setup=setup) for path in paths]
    feeds = typical_feeds(source, seed=seed, real=next(iter(trials.judge.samples())))
    old, *others = interleave(runners, feeds, seconds=_RACE_SECONDS)
    trials.short = float(np.median(old.all_cpu())) < TOO_SHORT
    for trial, times in zip(raced, others, strict=True):
        trial.point = replace(trial.point, ratio=ratio(old, times, wall=threads > 1))


def _best(trials: Trials, source: Path) -> Trial:
    """Of the fastest that meet the goal, or the smallest if none was timed, the closest to float.

    Those are alike whose speeds, or sizes, differ by less than 3 %.

    Raises:
        CheckFailed: none meets it.
    """
    if not trials.met:
        raise _missed(trials, source)
    timed = [(trial, trial.point.ratio) for trial in trials.met if trial.point.ratio is not None]
    if timed:
        fastest = max(ratio.median for _, ratio in timed)
        alike = [trial for trial, ratio in timed if ratio.median * _ALIKE >= fastest]
    else:
        smallest = min(trial.point.bytes for trial in trials.met)
        alike = [trial for trial in trials.met if trial.point.bytes <= smallest * _ALIKE]
    return max(alike, key=lambda trial: trial.point.sqnr)


def _missed(trials: Trials, source: Path) -> CheckFailed:
    if not trials.done:
        return CheckFailed(
            f"nothing in {safe(str(source))} can be quantized",
            hint="nothing was written",
            code="nothing-quantized",
        )
    points = [trial.point for trial in trials.done]
    lines = [f"{each.name}: {figures(each)}" for each in points]
    if any(point.meets for point in points):
        return CheckFailed(
            f"what meets {trials.goal} is slower than {safe(str(source))}, or hardly smaller",
            cause="\n".join(lines),
            hint=f"nothing was written; keep the float model{_instead(trials)}",
            code="goal-not-met",
        )
    best = max(points, key=trials.goal.margin)
    return CheckFailed(
        f"no quantization of {safe(str(source))} meets {trials.goal}",
        cause="\n".join(lines),
        hint=f"nothing was written; the best is {best.name} with {figures(best)}: ask for no more"
        " than that, or give more calibration data",
        code="goal-not-met",
    )


def _instead(trials: Trials) -> str:
    """What to try where the float model is the best there is."""
    smallest = "--no-measure takes the smallest whatever its speed"
    if trials.short:
        return f": its run takes less than 50 µs, most of it the call itself; or {smallest}"
    if any(trial.point.kept for trial in trials.done if trial.point.meets):
        return f", or ask for less, so that more layers take eight bits; {smallest}"
    return f"; {smallest}"


def figures(point: Point) -> str:
    """A candidate's figures in one line."""
    parts = [f"{point.sqnr:.1f} dB"]
    parts += [f"{100 * point.agreement:.2f}% agree"] if point.agreement is not None else []
    parts += [f"score falls by {100 * point.drop:.2f}%"] if point.drop is not None else []
    parts += [f"{point.ratio.median:.2f}x"] if point.ratio is not None else []
    return ", ".join([*parts, f"{point.bytes / 1e6:.3g} MB"])


def _tolerance(goal: Goal) -> Tolerance:
    """What the delivery checks: the goal was proven, so it is a floor under it only."""
    usual = TOLERANCES["int8"]
    limit = min(goal.limit, usual.limit) if goal.kind == "min_sqnr" else _LOOSEST
    return replace(usual, limit=limit)
