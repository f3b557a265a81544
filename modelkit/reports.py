"""What each verb returns: frozen records that a terminal, a machine or an HTML page can show.

They hold plain values only, so that they cross the worker's pipe as JSON.  Imports nothing of ours.
"""

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class OutputError:
    """How far one output is from its reference on one trial.

    ``metric`` is one of: ``relative`` (max abs difference over max abs reference), ``sqnr``
    (decibels, higher is better), ``agreement`` (fraction of equal elements, 0..1).
    """

    output: str
    metric: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True)
class Trial:
    """One set of inputs both models ran on."""

    shapes: dict[str, list[int]]
    seed: int
    errors: tuple[OutputError, ...]


@dataclass(frozen=True)
class Verification:
    """Proof, or refusal, that a result computes what its source computes.

    For steps that are allowed noise, ``overall`` holds each output's error over all trials
    together, and decides; else every trial must pass.
    ``inputs`` says where the feeds came from ("seeded", "file", "input spec of the model").
    ``skipped`` is non-empty when ``--no-verify`` left it out.
    """

    step: str
    tolerance: str
    passed: bool
    inputs: str
    trials: tuple[Trial, ...]
    not_comparable: tuple[str, ...] = ()
    skipped: str = ""
    overall: tuple[OutputError, ...] = ()

    @property
    def worst(self) -> OutputError | None:
        """The deciding error closest to, or furthest past, its limit."""
        errors = self.overall or [error for trial in self.trials for error in trial.errors]
        return max(errors, key=_badness, default=None)


def _badness(error: OutputError) -> float:
    if error.metric == "relative":
        return error.value / max(error.limit, 1e-300)
    return error.limit / max(error.value, 1e-300)


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class SpeedVerdict:
    """What the never-slower gate saw; ``ratio`` is old time over new time (above 1: faster)."""

    ratio: Interval | None
    kept: bool
    reason: str


@dataclass(frozen=True)
class FileFacts:
    """A model on disk, in one line.

    ``bytes`` counts external data; ``contrib`` counts operators outside ai.onnx by
    ``domain.OpType``; ``lowest_runtime`` is the oldest ONNX Runtime that opens it, "" if unknown.
    """

    path: str
    bytes: int
    nodes: int
    parameters: int
    opset: dict[str, int]
    ir_version: int
    contrib: dict[str, int]
    lowest_runtime: str = ""


@dataclass(frozen=True)
class Change:
    """What one pass or fusion did; ``notes`` are one line each."""

    name: str
    count: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NearMiss:
    """A place where a fusion almost applied, and why it did not."""

    fusion: str
    node: str
    reason: str


@dataclass(frozen=True)
class OptimizeReport:
    """What ``optimize`` did."""

    source: FileFacts
    result: FileFacts
    level: str
    target: str
    changes: tuple[Change, ...]
    near_misses: tuple[NearMiss, ...]
    operators_before: dict[str, int]
    operators_after: dict[str, int]
    verification: Verification
    speed: SpeedVerdict
    notes: tuple[str, ...] = ()
    up_to_date: bool = False
    written: str = ""


@dataclass(frozen=True)
class Skip:
    """A layer that stayed as it was, and why."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True)
class LayerNoise:
    """How many decibels of signal over noise one layer alone keeps when quantized."""

    node: str
    sqnr: float


@dataclass(frozen=True)
class QuantizeReport:
    """What ``quantize`` did: ``quantized`` of ``candidates`` layers, and why not the rest."""

    source: FileFacts
    result: FileFacts
    mode: str
    options: dict[str, str]
    candidates: int
    quantized: int
    skips: tuple[Skip, ...]
    verification: Verification
    speed: SpeedVerdict
    notes: tuple[str, ...] = ()
    up_to_date: bool = False
    written: str = ""
    layers: tuple[LayerNoise, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One route from a framework to ONNX that was tried."""

    route: str
    outcome: str


@dataclass(frozen=True)
class ConvertReport:
    """What ``convert`` did."""

    source: str
    framework: str
    detected: str
    attempts: tuple[Attempt, ...]
    result: FileFacts
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    verification: Verification
    copied: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    up_to_date: bool = False
    written: str = ""


@dataclass(frozen=True)
class OutputComparison:
    """Two models' values of one output over all inputs.

    ``top10`` is the mean overlap of the ten nearest rows (retrieval), None without enough rows.
    """

    output: str
    max_abs: float
    relative: float
    sqnr: float
    cosine: float
    agreement: float | None
    top10: float | None


@dataclass(frozen=True)
class CompareReport:
    """What ``compare`` found."""

    a: FileFacts
    b: FileFacts
    inputs: str
    samples: int
    shapes: tuple[dict[str, list[int]], ...]
    outputs: tuple[OutputComparison, ...]
    passed: bool
    criterion: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchRow:
    """One candidate's figures; times in milliseconds, ``speedup`` is first row's time over its.

    ``quality`` compares its first output with the first row's, when real inputs were given.
    """

    name: str
    provider: str
    bytes: int
    median_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: float
    speedup: Interval
    runs: int
    load_ms: float
    first_ms: float
    peak_mb: float
    error: str = ""
    quality: OutputComparison | None = None


@dataclass(frozen=True)
class BenchReport:
    """What ``bench`` measured, all rows interleaved in one process."""

    machine: str
    runtime: str
    threads: int
    shapes: dict[str, list[int]]
    rows: tuple[BenchRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ValueFacts:
    """An input or output: ``shape`` as written in the model, unknown dims as "?"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class InspectReport:
    """What ``inspect`` saw."""

    file: FileFacts
    producer: str
    inputs: tuple[ValueFacts, ...]
    outputs: tuple[ValueFacts, ...]
    operators: dict[str, int]
    bytes_by_dtype: dict[str, int]
    largest: tuple[tuple[str, str, int], ...]
    history: tuple[str, ...]
    lint: tuple[str, ...]


@dataclass(frozen=True)
class ProviderFacts:
    """A provider the installed ONNX Runtime lists, and whether a session really opened on it."""

    name: str
    opened: bool
    detail: str


@dataclass(frozen=True)
class DoctorReport:
    """What this machine can really do."""

    versions: dict[str, str]
    machine: dict[str, str]
    providers: tuple[ProviderFacts, ...]
    extras: dict[str, str]
    problems: tuple[str, ...]


def to_json(report: Any) -> dict[str, Any]:
    """The report's fields, its kind and ``schema_version``, ready for ``json.dumps``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": type(report).__name__,
        **dataclasses.asdict(report),
    }


def from_json(fields: dict[str, Any]) -> Any:
    """Rebuild the report that :func:`to_json` wrote."""
    kind = globals()[fields["kind"]]
    return _decoded(kind, {k: v for k, v in fields.items() if k not in ("kind", "schema_version")})


def _decoded(kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        return typing.cast(Any, kind)(**{k: _decoded(hints[k], v) for k, v in value.items()})
    if origin in (typing.Union, types.UnionType):
        inner = next((a for a in arguments if dataclasses.is_dataclass(a)), None)
        return _decoded(inner, value) if inner is not None and value is not None else value
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_decoded(arguments[0], item) for item in value)
    if origin is tuple:
        return tuple(_decoded(a, item) for a, item in zip(arguments, value, strict=True))
    return value
