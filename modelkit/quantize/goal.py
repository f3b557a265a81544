"""What a user wants a quantized model to keep, and how much a candidate keeps of it.

The float model runs once on every sample; its first outputs are kept, and candidates are measured
against them, with labels or without.
"""

from dataclasses import dataclass, field
from pathlib import Path

from modelkit.comparison import Tallies
from modelkit.comparison.scores import Scorer, read_targets, scorer
from modelkit.errors import CheckFailed, UsageError
from modelkit.quantize.observe import Samples
from modelkit.reports import Point
from modelkit.runtime.session import Feeds, Run, Setup
from modelkit.safe import safe

KINDS = ("min_sqnr", "min_agreement", "max_drop")
_ROWS_FOR_TRUST = 100


@dataclass(frozen=True)
class Goal:
    """``kind`` of KINDS and its limit: decibels, or a share from 0 to 1."""

    kind: str
    limit: float

    def __str__(self) -> str:
        """As the user wrote it."""
        value = f"{self.limit:g}" if self.kind == "min_sqnr" else f"{100 * self.limit:g}%"
        return f"--{self.kind.replace('_', '-')} {value}"

    def margin(self, found: Point) -> float:
        """How far above the goal a candidate is, below 0 if it misses it.

        Raises:
            UsageError: the model's outputs are no answers that could agree.
        """
        if self.kind == "min_sqnr":
            return found.sqnr - self.limit
        if self.kind == "max_drop" and found.drop is not None:
            return self.limit - found.drop
        if found.agreement is None:
            raise UsageError(
                "the model's outputs are no rows of scores, so nothing can agree",
                hint="--min-sqnr DECIBELS, or --labels and --metric",
            )
        if self.kind == "max_drop":
            return self.limit - (1 - found.agreement)
        return found.agreement - self.limit

    def __contains__(self, found: object) -> bool:
        """Whether a candidate meets the goal; rounding of shares counts for it."""
        return isinstance(found, Point) and self.margin(found) >= -1e-9


def read_goal(min_sqnr: float | None, min_agreement: str | None, max_drop: str | None) -> Goal:
    """The one goal that was given.

    Raises:
        UsageError: none or several, or a share that is none.
    """
    given = [Goal("min_sqnr", min_sqnr)] if min_sqnr is not None else []
    for kind, text in (("min_agreement", min_agreement), ("max_drop", max_drop)):
        given += (
            [Goal(kind, share(text, f"--{kind.replace('_', '-')}"))] if text is not None else []
        )
    if len(given) != 1:
        raise UsageError(
            "two goals cannot be searched for at once" if given else "--auto needs a goal",
            hint="one of --max-drop 0.5%, --min-sqnr 30 and --min-agreement 99.5%",
        )
    return given[0]


def share(text: str, option: str) -> float:
    """What "0.5%" and "0.005" say, a share; ``option`` is where it was given.

    Raises:
        UsageError: no number, or outside 0 to 1.
    """
    bare, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        value = float(bare) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError(
            f"{option} {safe(text, 40)} is no share",
            hint="write a percentage, as 0.5%, or a fraction of 1, as 0.005",
        )
    return value


@dataclass
class Judge:
    """Measures candidates on one set of samples.

    ``samples`` start over with each call of it; ``labels`` and ``metric`` as of ``compare``.
    """

    origin: Path
    samples: Samples
    labels: str | None = None
    metric: str | None = None
    rows: int = 0
    _expected: list[Feeds] = field(default_factory=list)

    def prepare(self) -> None:
        """Run the float model.

        Raises:
            CheckFailed: there is no sample.
        """
        plain = Setup(graph_level="none")
        with plain.open(self.origin) as session:
            self._expected = [session.run(feeds) for feeds in self.samples()]
        if not self._expected:
            raise CheckFailed("the evaluation data holds no sample", code="no-samples")
        first = [next(iter(values.values())) for values in self._expected]
        self.rows = sum(len(value) if value.ndim else 1 for value in first)

    def judge(self, name: str, path: Path, size: int, kept: int) -> Point:
        """The figures of the model at ``path``: the worst output's, and the task's of the first."""
        with Setup().open(path) as session:
            return self.point(name, session.run, size, kept)

    def point(self, name: str, run: Run, size: int, kept: int) -> Point:
        """The same of a function."""
        tallies, scoring = Tallies({}, []), self._scorer()
        for expected, feeds in zip(self._expected, self.samples(), strict=True):
            actual = run(feeds)
            tallies.add(expected, actual)
            if scoring is not None:
                first = next(iter(expected))
                scoring.add(expected[first], actual[first])
        found = tallies.results()
        agreements = [each.agreement for each in found if each.agreement is not None]
        drop = None
        if scoring is not None:
            score = scoring.result()[0]
            drop = score.a - score.b
            if scoring.metric == "rmse":  # less is better, and has the unit of the labels
                drop = (score.b - score.a) / max(abs(score.a), 1e-12)
        return Point(
            name,
            min(each.sqnr for each in found),
            min(agreements) if agreements else None,
            drop,
            size,
            kept,
        )

    def note(self, goal: Goal) -> tuple[str, ...]:
        """A warning where a share is asked for of few rows."""
        if goal.kind == "min_sqnr" or self.rows >= _ROWS_FOR_TRUST:
            return ()
        text = f"judged on {self.rows} rows only: one row is {100 / max(self.rows, 1):.1f}%"
        return (text,)

    def _scorer(self) -> Scorer | None:
        if self.labels is None and self.metric is None:
            return None
        return scorer(self.metric, read_targets(self.labels))
