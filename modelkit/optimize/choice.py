"""What a user may choose: level, target, passes and fusions by name, the oldest runtime."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from modelkit.errors import UsageError
from modelkit.fusions import load_fusions
from modelkit.model import newest_of
from modelkit.passes import LEVELS, ONCE, SMALLER, name_of
from modelkit.passes.convert_opset import NEWEST
from modelkit.reports import Rewrite
from modelkit.safe import safe
from modelkit.targets import Target

ALWAYS = "infer_symbols"
"""Reads the graph and changes nothing; other passes rely on it."""

OLDEST = 7


class Care(StrEnum):
    """What of the rewrites that pay on a target is left out; the text is for a report."""

    NONE = ""
    THREADS = " without what loses on more threads"
    SURE = " with sure gains only"

    def of(self, target: Target) -> Target:
        """The target with this care."""
        if self is Care.THREADS:
            return target.threaded()
        return target.sure() if self is Care.SURE else target


@dataclass(frozen=True)
class Choice:
    """Which passes and fusions run: those in ``only`` (all, when empty) but not in ``skip``.

    ``opset`` is what the result must have, None for the model's own or what fusions need;
    ``runtime`` is the oldest that must open it, as "ort==1.17", "" for the installed one.
    """

    level: str = "all"
    target: str = "cpu"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    opset: int | None = None
    runtime: str = ""
    care: Care = Care.NONE

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise unknown("level", self.level, list(LEVELS))
        known = list(describe())
        for name in (*self.only, *self.skip):
            if name not in known:
                raise unknown("pass or fusion", name, known)
        newest, _ = self.limits()
        if self.opset is not None and not OLDEST <= self.opset <= newest:
            raise UsageError(
                f"--opset {self.opset} cannot be written",
                hint=f"choose {OLDEST} to {newest}" + (f" for {self.runtime}" * bool(self.runtime)),
            )

    def takes(self, name: str) -> bool:
        """Whether the pass or fusion called ``name`` runs."""
        return name == ALWAYS or ((not self.only or name in self.only) and name not in self.skip)

    def limits(self) -> tuple[int, int | None]:
        """The newest opset, and the newest IR version (None: any), that may be written."""
        if not self.runtime:
            return NEWEST, None
        found = re.fullmatch(r"ort==(\d+)\.(\d+)(\.\d+)?", self.runtime)
        limits = newest_of(int(found[1]), int(found[2])) if found else None
        if limits is None:
            raise UsageError(
                f"--for {safe(self.runtime)} is no runtime modelkit knows",
                hint="write it as --for ort==1.17; 1.8 is the oldest",
            )
        return limits


def describe() -> dict[str, str]:
    """The name of every pass and fusion with its first line of documentation."""
    return {rewrite.name: rewrite.line for rewrite in rewrites()}


def rewrites() -> tuple[Rewrite, ...]:
    """Every pass in the order it first runs, then every fusion by level and name."""
    passes = {name_of(each): each.__doc__ for passes in LEVELS.values() for each in passes}
    passes |= {name_of(each): each.__doc__ for each in SMALLER}
    found = [Rewrite(name, "pass", "basic", _first_line(doc)) for name, doc in passes.items()]
    found += [Rewrite(name_of(each), "pass", "all", _first_line(each.__doc__)) for each in ONCE]
    fusions = sorted(load_fusions(), key=lambda each: (list(LEVELS).index(each.level), each.name))
    found += [Rewrite(f.name, "fusion", f.level, _first_line(f.doc)) for f in fusions]
    return tuple(found)


def _first_line(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n", 1)[0].split())


def unknown(what: str, name: str, known: Sequence[str]) -> UsageError:
    """The error for a name that is none of ``known``."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"one of: {', '.join(known)}"
    return UsageError(f"no {what} is called '{safe(name)}'", hint=hint)
