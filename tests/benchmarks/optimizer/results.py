"""What was measured, one row a model and contender, kept as JSON between runs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import rows

EXPORTS = "exports"
"""The contender of a row that compares our results for both exporters: dynamo over TorchScript."""


@dataclass(frozen=True)
class Row:
    """What one contender made of one exported model.

    Attributes:
        exhibit: model.exporter.
        contender: its name; "export" where there is no model to optimize;
            :data:`EXPORTS`.
        failure: why there is nothing, or why what was written does not run; "" if all is well.
        operators: operator to how often it is left.
        error: relative, against the original with optimizations off.
        cpu_seconds, peak_mb: of optimizing, the whole process with its children.
        latency: old over new CPU time, with its 95 % interval; None: not raced.
        milliseconds: median run of the reference in that race.
    """

    exhibit: str
    contender: str
    failure: str = ""
    operators: dict[str, int] = field(default_factory=dict)
    error: float | None = None
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    latency: tuple[float, float, float] | None = None
    milliseconds: float | None = None

    @property
    def nodes(self) -> int:
        """How many operators are left, 0 if nothing was written."""
        return sum(self.operators.values())


def read(path: Path) -> list[Row]:
    """The rows in ``path``, none if it is not there."""
    return rows.read(path, Row, "latency")


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """``old`` rows with ``new`` ones in the place of those of the same exhibit and contender.

    A row that was measured again without a race keeps no old latency: its model may have changed.
    """
    found = {(row.exhibit, row.contender): row for row in old}
    found.update({(row.exhibit, row.contender): row for row in new})
    return list(found.values())
