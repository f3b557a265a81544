"""``compare``: how far the outputs of two models are apart."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from modelkit import progress
from modelkit.comparison.layers import first_difference
from modelkit.comparison.scores import Scorer, read_targets, scorer
from modelkit.comparison.tally import Tally
from modelkit.comparison.tally import quality as quality
from modelkit.errors import UsageError
from modelkit.model import facts, load, operator_counts
from modelkit.reports import CompareReport, FileFacts, OutputComparison
from modelkit.runtime.compare import TOLERANCES, random_outputs
from modelkit.runtime.data import read_data
from modelkit.runtime.data.settings import resolved
from modelkit.runtime.feeds import propose, typical_feeds
from modelkit.runtime.session import Feeds, Run, Session, Setup
from modelkit.runtime.setups import SessionArguments, one_setup
from modelkit.safe import safe

_SHAPES_SHOWN = 4
_SEEDED_TRIALS = 6
_QUANTIZED = ("Quantize", "Integer", "MatMulNBits", "QLinear", "GatherBlockQuantized")


def compare_files(
    a: str,
    b: str,
    *,
    eval_data: str | None = None,
    labels: str | None = None,
    metric: str | None = None,
    layers: bool = False,
    atol: float | None = None,
    rtol: float | None = None,
    dims: dict[str, int] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    providers: str = "cpu",
    trust_source: bool = False,
    seed: int = 0,
    **session: Unpack[SessionArguments],
) -> CompareReport:
    """Run ``a`` (trusted) and ``b`` on the same inputs and measure every output.

    ``a`` may be a model of another framework, as "torch:model.pt" or "module:factory".  Inputs are
    ``eval_data``, or seeded ones at several shapes.  The verdict is by ``atol`` or ``rtol`` if
    given, else by the tolerance of the coarsest number format either model uses.  ``metric`` is one
    of ``scores``: with ``labels`` it is accuracy, without them agreement of B with A.  ``layers``
    looks for the first tensor that differs.

    Raises:
        UsageError: the models' inputs or outputs do not correspond.
    """
    setup = one_setup(providers, session)
    second = Path(b)
    first = None if _is_framework(a) else Path(a)
    if layers and first is None:
        raise UsageError("--layers needs two ONNX files", hint="convert the source first")
    if (labels is not None or metric is not None) and eval_data is None:
        raise UsageError("--labels and --metric need real inputs", hint="add --eval-data")
    progress.step("reading")
    metadata = dict(load(second).metadata_props)
    settings = resolved(preprocessing, metadata, second.parent)
    scoring = scorer(metric, read_targets(labels)) if metric or labels else None
    work = _Work(Tallies({}, []), scoring)
    with _both(a, first, second, setup, dims, trust_source, seed) as (run_a, two, facts_a):
        origin = first or second
        if eval_data is not None:
            samples = read_data(
                Path(eval_data), two.inputs, tokenizer_folder=origin.parent, settings=settings
            )
        else:
            found = propose(load(origin), run_a, dims=dims, seed=seed, count=_SEEDED_TRIALS)
            samples = (feeds for feeds, _ in found.trials)
        progress.step("running")
        work.all(samples, run_a, two)
    random = random_outputs(load(second)) | (random_outputs(load(first)) if first else set())
    notes = [f"output '{safe(name)}' is random and was not judged" for name in sorted(random)]
    outputs = work.tallies.results()
    judged = [output for output in outputs if output.output not in random]
    step = _step(*([first] if first else []), second)
    passed, criterion = _verdict(judged, atol, rtol, step)
    divergence = None
    if layers and first is not None and work.first is not None:
        limit = TOLERANCES[step]
        limit = replace(limit, metric="relative", limit=rtol) if rtol is not None else limit
        divergence = first_difference(first, second, work.first, limit, setup)
    return CompareReport(
        facts_a,
        facts(load(second), second),
        f"from {safe(Path(eval_data).name)}" if eval_data else f"seeded ({seed})",
        work.samples,
        tuple(work.shapes),
        outputs,
        passed,
        criterion,
        (*work.tallies.notes, *notes),
        scoring.result() if scoring is not None else (),
        divergence,
    )


@dataclass
class Tallies:
    """The figures of every output, by the name it has in A."""

    found: dict[str, Tally]
    notes: list[str]

    def add(self, here: Feeds, there: Feeds) -> None:
        """Take in one run of each; outputs of other names are paired by position, with a note."""
        for name, other in self._pairs(list(here), list(there)):
            self.found.setdefault(name, Tally()).add(here[name], there[other])

    def results(self) -> tuple[OutputComparison, ...]:
        """The figures over everything seen."""
        return tuple(tally.result(name) for name, tally in self.found.items())

    def _pairs(self, here: Sequence[str], there: Sequence[str]) -> list[tuple[str, str]]:
        if set(here) <= set(there):
            return [(name, name) for name in here]
        if len(here) != len(there):
            raise UsageError(f"the models have {len(here)} and {len(there)} outputs of other names")
        note = "the outputs have other names and were paired by position"
        self.notes += [] if note in self.notes else [note]
        return list(zip(here, there, strict=True))


class _Work:
    """All samples through both models."""

    def __init__(self, tallies: Tallies, scoring: Scorer | None) -> None:
        self.tallies, self.scoring = tallies, scoring
        self.samples = 0
        self.shapes: list[dict[str, list[int]]] = []
        self.first: Feeds | None = None

    def all(self, samples: Iterator[Feeds], run_a: Run, two: Session) -> None:
        """Run and measure; only the figures and the first sample stay."""
        for feeds in samples:
            here, there = run_a(feeds), two.run(feeds)
            self.tallies.add(here, there)
            if self.scoring is not None:
                name = next(iter(here))
                self.scoring.add(here[name], there.get(name, next(iter(there.values()))))
            self.first = feeds if self.first is None else self.first
            self.samples += _batch(feeds)
            shape = {name: list(value.shape) for name, value in feeds.items()}
            if shape not in self.shapes and len(self.shapes) < _SHAPES_SHOWN:
                self.shapes.append(shape)


@contextmanager
def _both(
    a: str,
    first: Path | None,
    second: Path,
    setup: Setup,
    dims: dict[str, int] | None,
    trust: bool,
    seed: int,
) -> Iterator[tuple[Run, Session, FileFacts]]:
    """A as a function, B as a session, and the facts of A."""
    with ExitStack() as stack:
        if first is not None:
            plain = Setup(threads=setup.threads, graph_level="none", custom_ops=setup.custom_ops)
            one = stack.enter_context(plain.open(first))
            two = stack.enter_context(setup.open(second))
            if {port.name for port in one.inputs} != {port.name for port in two.inputs}:
                names = [", ".join(safe(p.name, 40) for p in each.inputs) for each in (one, two)]
                raise UsageError(f"the models take different inputs: {names[0]} and {names[1]}")
            yield one.run, two, facts(load(first), first)
            return
        from modelkit.convert.reference import reference

        feeds = typical_feeds(second, dims=dims, seed=seed)
        found = reference(a, feeds, threads=setup.threads, trust=trust)
        two = stack.enter_context(setup.open(second))
        about = FileFacts(safe(f"{a} ({found.framework})"), found.bytes, 0, 0, {}, 0, {}, "")
        yield found.run, two, about


def _is_framework(source: str) -> bool:
    if Path(source).suffix.lower() == ".onnx":
        return False
    from modelkit.convert.reference import is_framework

    return is_framework(source)


def _batch(feeds: Feeds) -> int:
    value = next(iter(feeds.values()), None)
    return int(value.shape[0]) if isinstance(value, np.ndarray) and value.ndim else 1


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
