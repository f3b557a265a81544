"""What ``bench`` returns."""

from dataclasses import dataclass, field

from modelkit.reports.figures import Interval, OutputComparison


@dataclass(frozen=True)
class NodeTime:
    """One node's time in a run: ``micros`` is its median own time, ``shapes`` its first output."""

    node: str
    op: str
    provider: str
    micros: float
    shapes: str = ""


@dataclass(frozen=True)
class Placement:
    """Who ran a model: nodes and microseconds a run by provider.

    ``offloaded`` is the share of the arithmetic (FLOP) done elsewhere than on the CPU, 0..1;
    ``copies`` counts copies between devices.
    """

    nodes: dict[str, int]
    micros: dict[str, float]
    offloaded: float
    copies: int


@dataclass(frozen=True)
class BenchRow:
    """One candidate's figures; times in milliseconds, ``speedup`` is first row's time over its.

    ``throughput`` is items a second with the asked concurrency, 0 when that was not asked;
    ``roofline`` the share of what this machine's arithmetic and memory allow, None likewise.
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
    throughput: float = 0.0
    roofline: float | None = None
    placement: Placement | None = None


@dataclass(frozen=True)
class BenchPoint:
    """All rows on inputs of one size; ``items`` is the length of the batch axis."""

    dims: dict[str, int]
    shapes: dict[str, list[int]]
    items: int
    rows: tuple[BenchRow, ...]


@dataclass(frozen=True)
class BenchProfile:
    """Where one row's time goes: its nodes, slowest first."""

    name: str
    provider: str
    nodes: tuple[NodeTime, ...]


@dataclass(frozen=True)
class Roof:
    """What this machine can do with the asked threads, and what a run asks for."""

    gflops: float
    gbytes: float
    model_flops: int
    model_bytes: int


@dataclass(frozen=True)
class BenchReport:
    """What ``bench`` measured, all rows of a point interleaved in one process."""

    machine: str
    runtime: str
    threads: int
    points: tuple[BenchPoint, ...]
    notes: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    concurrency: int = 0
    roof: Roof | None = None
    profiles: tuple[BenchProfile, ...] = ()


@dataclass(frozen=True)
class MergedRow:
    """One candidate on one size of inputs; the figures stand in the order of the machines."""

    name: str
    provider: str
    dims: dict[str, int]
    median_ms: tuple[float | None, ...]
    speedup: tuple[float | None, ...]


@dataclass(frozen=True)
class MergeReport:
    """Kept figures of several machines side by side."""

    machines: tuple[str, ...]
    rows: tuple[MergedRow, ...]
