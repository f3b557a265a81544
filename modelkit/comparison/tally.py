"""The figures of one output over all samples, kept while they come."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from modelkit.reports import OutputComparison
from modelkit.runtime import metrics
from modelkit.runtime.session import Feeds, Run


@dataclass
class Tally:
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


def quality(expected: Sequence[Feeds], run: Run, inputs: Sequence[Feeds]) -> OutputComparison:
    """The first output of ``run`` on ``inputs`` against that of ``expected``, one each."""
    tally, name = Tally(), ""
    for reference, feeds in zip(expected, inputs, strict=True):
        actual = run(feeds)
        name = next(iter(reference))
        tally.add(reference[name], actual.get(name, next(iter(actual.values()))))
    return tally.result(name)
