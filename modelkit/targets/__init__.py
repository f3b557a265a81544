"""What is fast where: measured tables, as data.

A row is a fusion and the ratio of old time to new time on that target, with ONNX Runtime's own
optimizations on.  A fusion is applied on a target where its row says at least 1.00; one without a
row only if it is in the table of every target ("any").
"""

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelkit.errors import UsageError
from modelkit.safe import safe

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Target:
    """One place to run: fusion to measured speed-up, and why some are refused there."""

    name: str
    title: str
    measured: str
    ratios: dict[str, float]

    def allows(self, fusion: str) -> str | None:
        """None if the fusion pays here, else the reason it is left out."""
        ratio = self.ratios.get(fusion)
        if ratio is None:
            return f"it was not measured on target {self.name}"
        if ratio < 1.0:
            return f"it is slower on target {self.name} ({ratio:.2f}x)"
        return None


def names() -> list[str]:
    """The targets that have a table."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def load(name: str) -> Target:
    """The table of ``name``.

    Raises:
        UsageError: no such target.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"one of: {', '.join(names())}"
        raise UsageError(f"no target is called '{safe(name)}'", hint=hint)
    table = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    ratios = {fusion: float(ratio) for fusion, ratio in table["fusions"].items()}
    return Target(name, table["title"], table["measured"], ratios)
