"""One row a subject and contender, kept as JSON and shown as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.benchmarks import rows
from tests.benchmarks.quantize.contenders import CONTENDERS
from tests.benchmarks.quantize.subjects import SUBJECTS

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Row:
    """What one contender made of one subject.

    ``failure`` says why there is nothing; ``ratio`` is old over new CPU time against the float
    model with all of ONNX Runtime's optimizations, with its 95 % interval.
    """

    subject: str
    contender: str
    failure: str = ""
    decibels: float | None = None
    agreement: float | None = None
    top10: float | None = None
    score: float | None = None
    reference_score: float | None = None
    megabytes: float | None = None
    ratio: Interval | None = None
    cpu_seconds: float = 0.0


def read(path: Path) -> list[Row]:
    """The rows in ``path``, none if it is not there."""
    return rows.read(path, Row, "ratio")


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """``old`` with ``new`` in the place of the same subject and contender, in the usual order."""
    found = {(row.subject, row.contender): row for row in (*old, *new)}
    order = [(one.name, other.name) for one in SUBJECTS for other in CONTENDERS]
    return [found[key] for key in order if key in found]


def markdown(rows: Sequence[Row], machine: dict[str, str]) -> str:
    """The whole report: a table a subject."""
    parts = ["# Quantizers", "\n".join(f"- {name}: {value}" for name, value in machine.items())]
    parts.append(
        "dB and agreement are against the float model; the score is the task's, top-10 the overlap"
        " of the ten nearest; the ratio is float over quantized CPU time, 1 thread, interleaved,"
        " with its 95 % interval."
    )
    for subject, group in groupby(rows, key=lambda row: row.subject):
        found = list(group)
        base = next((r.reference_score for r in found if r.reference_score is not None), None)
        title = f"## {subject}" + (f" (float: {100 * base:.2f} %)" if base is not None else "")
        parts.append(title)
        parts.append("\n".join([*_HEAD, *(_line(row) for row in found)]))
    return "\n\n".join(parts) + "\n"


_HEAD = (
    "| quantizer | dB | score | agreement | top-10 | ratio | MB |",
    "|---|--:|--:|--:|--:|--:|--:|",
)


def _line(row: Row) -> str:
    if row.failure:
        return f"| {row.contender} | fails: {row.failure} | | | | | |"
    decibels = "-" if row.decibels is None else f"{row.decibels:.1f}"
    shares = " | ".join(_percent(each) for each in (row.score, row.agreement, row.top10))
    ratio = "-" if row.ratio is None else "{:.2f} ({:.2f}-{:.2f})".format(*row.ratio)
    return f"| {row.contender} | {decibels} | {shares} | {ratio} | {row.megabytes:.3f} |"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
