"""What ``run`` and ``view`` return."""

from dataclasses import dataclass

from modelkit.reports.bench import Placement


@dataclass(frozen=True)
class RunReport:
    """What ``run`` computed: ``shown`` has a short text for each output of the first samples."""

    model: str
    provider: str
    inputs: str
    samples: int
    seconds: float
    shown: tuple[dict[str, str], ...]
    placement: Placement | None = None
    notes: tuple[str, ...] = ()
    written: str | None = None


@dataclass(frozen=True)
class ViewReport:
    """Where a model was shown."""

    path: str
    url: str
    seconds: float
