"""What each verb returns: frozen records that a terminal, a machine or an HTML page can show.

They hold plain values only, so that they cross the worker's pipe as JSON.  Imports nothing else of
ours.
"""

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any

from modelkit.reports.bench import (
    BenchPoint,
    BenchProfile,
    BenchReport,
    BenchRow,
    MergedRow,
    MergeReport,
    NodeTime,
    Placement,
    Roof,
)
from modelkit.reports.figures import (
    FileFacts,
    Interval,
    OutputComparison,
    OutputError,
    Point,
    SpeedVerdict,
    Trial,
    Verification,
)
from modelkit.reports.inspect import Costs, Difference, DiffReport, InspectReport, ValueFacts
from modelkit.reports.run import RunReport, ViewReport

SCHEMA_VERSION = 1

__all__ = [
    "Attempt",
    "BenchPoint",
    "BenchProfile",
    "BenchReport",
    "BenchRow",
    "Change",
    "CompareReport",
    "ConvertReport",
    "Costs",
    "DiffReport",
    "Difference",
    "Divergence",
    "DoctorReport",
    "FileFacts",
    "InspectReport",
    "Interval",
    "KernelRow",
    "KernelsReport",
    "MergeReport",
    "MergedRow",
    "NearMiss",
    "NodeTime",
    "OptimizeReport",
    "OutputComparison",
    "OutputError",
    "Placement",
    "Point",
    "PrecisionReport",
    "ProviderFacts",
    "QuantizeReport",
    "Roof",
    "RunReport",
    "Score",
    "Skip",
    "SpeedVerdict",
    "Trial",
    "ValueFacts",
    "Verification",
    "ViewReport",
    "from_json",
    "to_json",
]


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
class Rewrite:
    """A pass or fusion (``kind``) that --skip and --only know, and the level it belongs to."""

    name: str
    kind: str
    level: str
    line: str


@dataclass(frozen=True)
class RewritesReport:
    """Every pass and fusion of ``optimize``."""

    rewrites: tuple[Rewrite, ...]


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
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class PrecisionReport:
    """What ``fp16`` did: ``in_half`` nodes compute in ``half``, ``kept`` stay as they were.

    ``casts`` were put between the two kinds, ``casts_removed`` had become idle; ``cast_share`` is
    how much of all computed values casts read, None where none was measured.
    """

    source: FileFacts
    result: FileFacts
    half: str
    options: dict[str, str]
    in_half: int
    kept: tuple[Skip, ...]
    casts: int
    casts_removed: int
    cast_share: float | None
    verification: Verification
    speed: SpeedVerdict
    notes: tuple[str, ...] = ()
    up_to_date: bool = False
    written: str = ""


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
class SourceFormat:
    """A format that ``convert`` recognises, and whether it can be converted here.

    ``library`` is what reads it, with the version installed or "not installed"; ``extra`` installs
    it.  Both are "" for formats that are only recognised.
    """

    name: str
    detected_by: str
    converts: bool
    library: str = ""
    extra: str = ""


@dataclass(frozen=True)
class FormatsReport:
    """Every format that ``convert`` recognises."""

    formats: tuple[SourceFormat, ...]


@dataclass(frozen=True)
class Divergence:
    """The first tensor, in the order of computation, in which two models differ.

    ``producer`` is its node and operator; ``value`` its error; ``inputs`` the errors of the last
    tensors before it that still agreed.
    """

    tensor: str
    producer: str
    metric: str
    value: float
    compared: int
    sessions: int
    inputs: dict[str, float]


@dataclass(frozen=True)
class Score:
    """A task metric of both models on labelled data, or their agreement without labels."""

    metric: str
    a: float
    b: float
    samples: int
    labelled: bool


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
    scores: tuple[Score, ...] = ()
    divergence: Divergence | None = None


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


@dataclass(frozen=True)
class KernelRow:
    """How much faster a fusion is at one size, alone: old time over new time.

    ``opening`` is what it does to the time that opening the model takes, and ``memory`` to the peak
    of opening it and one run: new over old, 0 where it is not known.
    """

    fusion: str
    size: str
    ratio: Interval
    opening: float
    memory: float


@dataclass(frozen=True)
class KernelsReport:
    """Which fusions pay on this machine."""

    title: str
    measured: str
    rows: tuple[KernelRow, ...]
    written: str


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
