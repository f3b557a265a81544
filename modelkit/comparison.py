"""``compare``: how far the outputs of two models are apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modelkit import progress
from modelkit.errors import UsageError
from modelkit.model import facts, load, operator_counts
from modelkit.reports import CompareReport, OutputComparison
from modelkit.runtime import metrics
from modelkit.runtime.compare import TOLERANCES, random_outputs
from modelkit.runtime.feeds import propose
from modelkit.runtime.preprocess import read_data
from modelkit.runtime.providers import parse
from modelkit.runtime.session import Feeds, Run, Session, open_session
from modelkit.safe import safe

_SHAPES_SHOWN = 4
_SEEDED_TRIALS = 6
_QUANTIZED = ("Quantize", "Integer", "MatMulNBits", "QLinear", "GatherBlockQuantized")


def compare_files(
    a: str,
    b: str,
    *,
    eval_data: str | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    dims: dict[str, int] | None = None,
    max_length: int | None = None,
    providers: str = "cpu",
    threads: int = 1,
    seed: int = 0,
) -> CompareReport:
    """Run ``a`` (trusted) and ``b`` on the same inputs and measure every output.

    Inputs are ``eval_data``, or seeded ones at several shapes.  The verdict is by ``atol`` or
    ``rtol`` if given, else by the tolerance of the coarsest number format either model uses.

    Raises:
        UsageError: the models' inputs or outputs do not correspond.
    """
    first, second = Path(a), Path(b)
    progress.step("reading")
    facts_a, facts_b = facts(load(first), first), facts(load(second), second)
    row = parse(providers)[0]
    notes: list[str] = []
    progress.step("running")
    with (
        open_session(first, optimize=False, threads=threads) as one,
        open_session(second, providers=row, threads=threads) as two,
    ):
        pairs = _pairs(one, two, notes)
        tallies = {name: _Tally() for name, _ in pairs}
        shapes: list[dict[str, list[int]]] = []
        samples = 0
        for feeds in _inputs(first, one, eval_data, dims, max_length, seed):
            here, there = one.run(feeds), two.run(feeds)
            for name, other in pairs:
                tallies[name].add(here[name], there[other])
            samples += _batch(feeds)
            shape = {name: list(value.shape) for name, value in feeds.items()}
            if shape not in shapes and len(shapes) < _SHAPES_SHOWN:
                shapes.append(shape)
    random = random_outputs(load(first)) | random_outputs(load(second))
    notes += [f"output '{safe(name)}' is random and was not judged" for name in sorted(random)]
    outputs = tuple(tally.result(name) for name, tally in tallies.items())
    judged = [output for output in outputs if output.output not in random]
    passed, criterion = _verdict(judged, atol, rtol, _step(first, second))
    source = f"from {safe(Path(eval_data).name)}" if eval_data else f"seeded ({seed})"
    return CompareReport(
        facts_a, facts_b, source, samples, tuple(shapes), outputs, passed, criterion, tuple(notes)
    )


def quality(expected: Sequence[Feeds], run: Run, inputs: Sequence[Feeds]) -> OutputComparison:
    """The first output of ``run`` on ``inputs`` against that of ``expected``, one each."""
    tally, name = _Tally(), ""
    for reference, feeds in zip(expected, inputs, strict=True):
        actual = run(feeds)
        name = next(iter(reference))
        tally.add(reference[name], actual.get(name, next(iter(actual.values()))))
    return tally.result(name)


def _pairs(one: Session, two: Session, notes: list[str]) -> list[tuple[str, str]]:
    if {port.name for port in one.inputs} != {port.name for port in two.inputs}:
        names = [", ".join(safe(p.name, 40) for p in session.inputs) for session in (one, two)]
        raise UsageError(f"the models take different inputs: {names[0]} and {names[1]}")
    here, there = [p.name for p in one.outputs], [p.name for p in two.outputs]
    if set(here) <= set(there):
        return [(name, name) for name in here]
    if len(here) != len(there):
        raise UsageError(f"the models have {len(here)} and {len(there)} outputs of other names")
    notes.append("the outputs have other names and were paired by position")
    return list(zip(here, there, strict=True))


def _inputs(
    path: Path,
    session: Session,
    eval_data: str | None,
    dims: dict[str, int] | None,
    max_length: int | None,
    seed: int,
) -> Iterator[Feeds]:
    if eval_data is not None:
        yield from read_data(
            Path(eval_data),
            session.inputs,
            tokenizer_folder=path.parent,
            max_length=max_length,
        )
        return
    proposal = propose(load(path), session.run, dims=dims, seed=seed, count=_SEEDED_TRIALS)
    yield from (feeds for feeds, _ in proposal.trials)


def _batch(feeds: Feeds) -> int:
    value = next(iter(feeds.values()), None)
    return int(value.shape[0]) if value is not None and value.ndim else 1


@dataclass
class _Tally:
    """One output, over all samples."""

    max_abs: float = 0.0
    largest: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    cosines: list[float] = field(default_factory=list)
    agreements: list[float] = field(default_factory=list)
    rows: tuple[list[np.ndarray], list[np.ndarray]] = field(default_factory=lambda: ([], []))
    broken: bool = False

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        """Take in one run's values."""
        if not isinstance(a, np.ndarray) or a.dtype.kind not in "f":
            same = a.shape == b.shape if isinstance(a, np.ndarray) else True
            self.agreements.append(metrics.agreement(np.asarray(a), np.asarray(b)) if same else 0.0)
            return
        if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
            self.broken = True
            return
        finite = np.isfinite(a)
        kept_a, kept_b = np.where(finite, a, 0), np.where(finite, b, 0)
        self.max_abs = max(self.max_abs, metrics.max_abs(kept_a, kept_b))
        self.largest = max(self.largest, float(np.abs(kept_a).max(initial=0)))
        signal, noise = metrics.energies(kept_a, kept_b)
        self.signal, self.noise = self.signal + signal, self.noise + noise
        self.cosines.append(metrics.cosine(kept_a, kept_b))
        if a.ndim >= 2 and a.shape[-1] > 1:
            self.agreements.append(metrics.top1_agreement(kept_a, kept_b))
        if a.ndim == 2:
            self.rows[0].append(kept_a)
            self.rows[1].append(kept_b)

    def result(self, name: str) -> OutputComparison:
        """The figures over everything seen."""
        if self.broken:
            return OutputComparison(name, np.inf, np.inf, -np.inf, 0.0, 0.0, None)
        count = sum(len(rows) for rows in self.rows[0])
        top10 = None
        if count >= metrics.FEWEST_ROWS:
            top10 = metrics.top10_overlap(
                np.concatenate(self.rows[0]), np.concatenate(self.rows[1])
            )
        return OutputComparison(
            name,
            self.max_abs,
            self.max_abs / max(self.largest, 1e-12),
            min(metrics.sqnr(self.signal, self.noise), 999.0),
            float(np.mean(self.cosines)) if self.cosines else 1.0,
            float(np.mean(self.agreements)) if self.agreements else None,
            top10,
        )


def _step(*paths: Path) -> str:
    """The row of the tolerance table for the coarsest number format in either model."""
    for path in paths:
        model = load(path)
        names = operator_counts(model)
        if "com.microsoft.MatMulNBits" in names:
            return "int4"
        if any(part in name for name in names for part in _QUANTIZED):
            return "int8"
    for path in paths:
        kinds = {
            value.const_value.dtype.name
            for value in load(path).graph.initializers.values()
            if value.const_value is not None
        }
        if "BFLOAT16" in kinds or "FLOAT16" in kinds:
            return "bf16" if "BFLOAT16" in kinds else "fp16"
    return "optimize"


def _verdict(
    outputs: list[OutputComparison], atol: float | None, rtol: float | None, step: str
) -> tuple[bool, str]:
    if atol is not None or rtol is not None:
        passed = all(
            (atol is None or output.max_abs <= atol) and (rtol is None or output.relative <= rtol)
            for output in outputs
        )
        parts = [f"absolute <= {atol:g}"] if atol is not None else []
        parts += [f"relative <= {rtol:g}"] if rtol is not None else []
        return passed, " and ".join(parts)
    tolerance = TOLERANCES[step]
    # Without an absolute difference only integers, booleans and strings can disagree.
    agree = all(
        output.max_abs > 0 or output.agreement is None or output.agreement >= tolerance.agreement
        for output in outputs
    )
    if tolerance.metric == "relative":
        near = all(output.relative <= tolerance.limit for output in outputs)
        return near and agree, f"{tolerance} (both in full precision)"
    near = all(output.sqnr >= tolerance.limit for output in outputs)
    return near and agree, f"at least {tolerance} ({step})"
