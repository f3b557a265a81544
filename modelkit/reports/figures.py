"""Parts that the reports of several verbs share."""

from dataclasses import dataclass


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
    ``skipped`` is non-empty when ``--no-verify`` left it out.  ``own_distance`` is how far,
    relative, rounding alone takes the source from itself; 0 where the step's own limit sufficed.
    """

    step: str
    tolerance: str
    passed: bool
    inputs: str
    trials: tuple[Trial, ...]
    not_comparable: tuple[str, ...] = ()
    skipped: str = ""
    overall: tuple[OutputError, ...] = ()
    own_distance: float = 0.0

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
    """What the never-slower gate saw; ``ratio`` is old time over new time (above 1: faster).

    ``on_threads`` is the same on ``threads`` threads, by the wall's time; None: not measured.
    """

    ratio: Interval | None
    kept: bool
    reason: str
    threads: int = 1
    on_threads: Interval | None = None


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
class Point:
    """A candidate of a search: the worst output's closeness to the float model, size and speed.

    ``drop`` is how much the task's score falls, None without labels or metric; ``kept`` layers fell
    back to a finer form; ``ratio`` is the float model's time over its own, None if not timed.
    """

    name: str
    sqnr: float
    agreement: float | None
    drop: float | None
    bytes: int
    kept: int
    ratio: Interval | None = None
    meets: bool = False
    chosen: bool = False
