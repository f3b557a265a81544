"""Prove that a result computes what its source computes, or refuse it.

Source and result run on the same inputs one after the other, so that two large models are never in
memory together; the source without ONNX Runtime's optimizations, the result as it will be run.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit import progress
from modelkit.errors import CheckFailed, ModelkitError, OutOfMemory, Unsupported
from modelkit.model import Model, load, nodes
from modelkit.reports import OutputError, Trial, Verification
from modelkit.runtime import metrics, rounding
from modelkit.runtime.feeds import Proposal
from modelkit.runtime.providers import CPU, Provider
from modelkit.runtime.session import Feeds, Run, open_session
from modelkit.safe import safe


@dataclass(frozen=True)
class Tolerance:
    """The largest error of a step: ``metric`` is relative (at most) or sqnr (dB, at least).

    ``agreement`` is the smallest fraction of equal elements of integer, boolean and string
    outputs (indices, labels, masks).
    """

    metric: str
    limit: float
    agreement: float

    def __str__(self) -> str:
        """As the README's table prints it."""
        if self.metric == "relative":
            return f"{self.limit:g} relative"
        return f"{self.limit:g} dB"


TOLERANCES: dict[str, Tolerance] = {
    "convert": Tolerance("relative", 1e-5, 0.999),
    "requantized": Tolerance("sqnr", 40, 0.99),
    "optimize": Tolerance("relative", 1e-5, 0.999),
    "fp16": Tolerance("sqnr", 50, 0.99),
    "bf16": Tolerance("sqnr", 35, 0.97),
    "int8": Tolerance("sqnr", 15, 0.97),
    "int8-weights": Tolerance("sqnr", 25, 0.97),
    "int4": Tolerance("sqnr", 12, 0.9),
}
"""Step to the error it may make; the one table, printed in the README."""

# Operators whose outputs differ from run to run by design.
RANDOM = frozenset(
    {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
    }
)

# Outputs of more than this go to disk until the result has run.
_SPILL_BYTES = 256 << 20


def verify(
    origin: Run | Path,
    result: Path,
    *,
    step: str,
    proposal: Proposal,
    providers: Sequence[Provider] = (CPU,),
    tolerance: Tolerance | None = None,
    optimize: bool = True,
) -> Verification:
    """Run both on the proposal's inputs and compare every output.

    ``tolerance`` takes the place of the step's own; ``optimize`` is whether ONNX Runtime may
    optimize the result.  Where a limit is relative and rounding alone takes the source further
    than that from itself, the limit is what :mod:`modelkit.runtime.rounding` finds.

    Raises:
        CheckFailed: an output is missing, has another type or shape, or is off by more than
            ``TOLERANCES[step]``; or nothing comparable is left.  Where ONNX Runtime's own
            optimizations are to blame, it says so.
    """
    tolerance = tolerance or TOLERANCES[step]
    again = partial(_compared, origin, result, step, proposal, providers, tolerance)
    try:
        found = again(optimize=optimize)
        if tolerance.metric == "relative" and not found.passed:
            subject = origin if isinstance(origin, Path) else result
            inputs = [feeds for feeds, _ in proposal.trials]
            found = _beside(rounding.own_distance(subject, inputs), found)
        return _proven(found)
    except CheckFailed as error:
        if error.code != "outputs-differ" or not optimize or tolerance.metric != "relative":
            raise
        failure = error
    try:
        _proven(again(optimize=False))
    except CheckFailed:
        raise failure from None
    raise CheckFailed(
        failure.message,
        cause=f"{failure.cause}; with ONNX Runtime's own optimizations off it computes the same",
        hint=f"{failure.hint}; --no-verify writes it, to be run with its optimizations off",
        code=failure.code,
    )


def _compared(
    origin: Run | Path,
    result: Path,
    step: str,
    proposal: Proposal,
    providers: Sequence[Provider],
    tolerance: Tolerance,
    *,
    optimize: bool,
) -> Verification:
    random = random_outputs(load(result))
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        keep = _Shelf(Path(folder))
        with _runner(origin, optimize=False, providers=(CPU,)) as run:
            for feeds, seed in proposal.trials:
                keep.put(seed, run(feeds))
        progress.step("verification of the result")
        trials = []
        noise = _Noise(tolerance)
        try:
            with _runner(result, optimize=optimize, providers=providers) as run:
                for feeds, seed in proposal.trials:
                    expected, actual = keep.take(seed), run(feeds)
                    errors = measure(expected, actual, tolerance, random)
                    noise.add(errors, expected, actual)
                    shapes = {name: list(value.shape) for name, value in feeds.items()}
                    trials.append(Trial(shapes, seed, errors))
        except ModelkitError as error:
            known = isinstance(error, CheckFailed) and error.code == "outputs-differ"
            if known or isinstance(error, OutOfMemory):
                raise
            advice = f"{error.hint}; " if isinstance(error, Unsupported) and error.hint else ""
            raise CheckFailed(
                f"the result of {step} does not run where its source does",
                cause=error.cause or error.message,
                hint=f"{advice}nothing was written",
                code="outputs-differ",
            ) from None
    return _judged(step, tolerance, proposal, tuple(trials), random, noise.overall())


def measure(
    reference: Feeds, result: Feeds, tolerance: Tolerance, random: frozenset[str] = frozenset()
) -> tuple[OutputError, ...]:
    """The error of each output that does not depend on chance.

    Raises:
        CheckFailed: the outputs' names, types or shapes differ, or NaN and infinity stand in
            other places.
    """
    if list(reference) != list(result):
        raise _differs(f"outputs are {_names(result)}, not {_names(reference)}")
    errors = []
    for name, expected in reference.items():
        if name in random:
            continue
        actual = result[name]
        if not isinstance(expected, np.ndarray):
            same = float(str(expected) == str(actual))
            errors.append(OutputError(name, "agreement", same, 1.0, same == 1.0))
            continue
        if expected.dtype != actual.dtype or expected.shape != actual.shape:
            raise _differs(
                f"output '{safe(name)}' is {actual.dtype}{list(actual.shape)},"
                f" not {expected.dtype}{list(expected.shape)}"
            )
        errors.append(_error(name, expected, actual, tolerance))
    return tuple(errors)


def judge(
    pairs: Iterable[tuple[Feeds, Feeds]],
    tolerance: Tolerance,
    random: frozenset[str] = frozenset(),
) -> tuple[OutputError, ...]:
    """The errors that decide over pairs of expected and actual outputs, as :func:`verify` finds.

    Raises:
        CheckFailed: see :func:`measure`.
    """
    noise = _Noise(tolerance)
    found: list[OutputError] = []
    for expected, actual in pairs:
        errors = measure(expected, actual, tolerance, random)
        noise.add(errors, expected, actual)
        found += errors
    return noise.overall() or tuple(found)


def random_outputs(model: Model) -> frozenset[str]:
    """Names of the graph outputs that depend on a random operator."""
    tainted: set[ir.Value | None] = set()
    for node in nodes(model):
        training = node.op_type == "Dropout" and len(node.inputs) > 2
        if node.op_type in RANDOM or training or any(v in tainted for v in node.inputs if v):
            tainted.update(node.outputs)
    return frozenset(value.name or "" for value in model.graph.outputs if value in tainted)


def _error(
    name: str, expected: np.ndarray, actual: np.ndarray, tolerance: Tolerance
) -> OutputError:
    if expected.dtype.kind != "f" and expected.dtype.name != "bfloat16":
        value = metrics.agreement(expected, actual)
        return OutputError(
            name, "agreement", value, tolerance.agreement, value >= tolerance.agreement
        )
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(actual)):
        raise _differs(f"NaN or infinity stands elsewhere in output '{safe(name)}'")
    if not np.array_equal(expected[~finite], actual[~finite], equal_nan=True):
        raise _differs(f"NaN and infinity are swapped in output '{safe(name)}'")
    expected, actual = expected[finite], actual[finite]
    if tolerance.metric == "relative":
        value = metrics.relative(expected, actual)
        return OutputError(name, "relative", value, tolerance.limit, value <= tolerance.limit)
    value = min(metrics.sqnr(*metrics.energies(expected, actual)), 999.0)
    return OutputError(name, "sqnr", value, tolerance.limit, value >= tolerance.limit)


def _judged(
    step: str,
    tolerance: Tolerance,
    proposal: Proposal,
    trials: tuple[Trial, ...],
    random: frozenset[str],
    overall: tuple[OutputError, ...],
) -> Verification:
    errors = overall or [error for trial in trials for error in trial.errors]
    if not errors:
        raise CheckFailed(
            "nothing can be compared: every output depends on a random operator",
            hint="--no-verify writes it without proof",
            code="not-comparable",
        )
    passed = all(error.passed for error in errors)
    return Verification(
        step,
        str(tolerance),
        passed,
        proposal.source,
        trials,
        tuple(sorted(random)),
        overall=overall,
    )


def _beside(own: Mapping[str, float], found: Verification) -> Verification:
    """``found`` as it is judged beside the distance of the source from itself, by output."""
    trials = tuple(
        replace(trial, errors=rounding.allowing(own, trial.errors)) for trial in found.trials
    )
    passed = all(error.passed for trial in trials for error in trial.errors)
    return replace(found, trials=trials, passed=passed, own_distance=max(own.values(), default=0.0))


def _proven(found: Verification) -> Verification:
    if not found.passed:
        worst = found.worst
        assert worst is not None
        raise _differs(
            f"output '{safe(worst.output)}': {worst.metric} {worst.value:.3g},"
            f" the limit is {worst.limit:.3g}"
        )
    return found


@dataclass
class _Noise:
    """Signal and noise of each output over all trials, for steps that are allowed noise.

    One short trial says little about a quantized model; the ratio of the sums does.
    """

    tolerance: Tolerance
    energies: dict[str, tuple[float, float]] = field(default_factory=dict)
    counts: dict[str, list[float]] = field(default_factory=dict)

    def add(self, errors: tuple[OutputError, ...], expected: Feeds, actual: Feeds) -> None:
        """Take in one trial."""
        if self.tolerance.metric != "sqnr":
            return
        for error in errors:
            if error.metric != "sqnr":
                self.counts.setdefault(error.output, []).append(error.value)
                continue
            reference = expected[error.output]
            finite = np.isfinite(reference)
            new = metrics.energies(reference[finite], actual[error.output][finite])
            old = self.energies.get(error.output, (0.0, 0.0))
            self.energies[error.output] = (old[0] + new[0], old[1] + new[1])

    def overall(self) -> tuple[OutputError, ...]:
        """One error an output; empty for exact steps."""
        limit, share = self.tolerance.limit, self.tolerance.agreement
        found = []
        for name, sums in self.energies.items():
            value = min(metrics.sqnr(*sums), 999.0)
            found.append(OutputError(name, "sqnr", value, limit, value >= limit))
        for name, values in self.counts.items():
            value = float(np.mean(values))
            found.append(OutputError(name, "agreement", value, share, value >= share))
        return tuple(found)


def _differs(cause: str) -> CheckFailed:
    return CheckFailed(
        "the result does not compute what its source computes",
        cause=cause,
        hint="nothing was written",
        code="outputs-differ",
    )


def _names(outputs: Feeds) -> str:
    return ", ".join(safe(name, 60) for name in list(outputs)[:10]) or "none"


@contextmanager
def _runner(origin: Run | Path, *, optimize: bool, providers: Sequence[Provider]) -> Iterator[Run]:
    if not isinstance(origin, Path):
        yield origin
        return
    with open_session(origin, optimize=optimize, providers=providers) as session:
        yield session.run


class _Shelf:
    """Outputs by seed; on disk once they are large."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[int, Feeds] = {}
        self._size = 0

    def put(self, seed: int, outputs: Feeds) -> None:
        for index, (name, value) in enumerate(outputs.items()):
            plain = isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
            if plain and self._size + value.nbytes > _SPILL_BYTES:
                path = self._folder / f"{seed}_{index}.npy"
                np.save(path, value)
                outputs[name] = np.load(path, mmap_mode="r")
            elif plain:
                self._size += value.nbytes
        self._kept[seed] = outputs

    def take(self, seed: int) -> Feeds:
        return self._kept.pop(seed)
