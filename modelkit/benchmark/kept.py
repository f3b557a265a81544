"""Figures kept in a file, to compare with later or with those of other machines."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelkit import progress, reports
from modelkit.errors import BadInput, CannotWrite, UsageError
from modelkit.reports import BenchReport, BenchRow, MergedRow, MergeReport
from modelkit.safe import safe

Key = tuple[str, str, tuple[tuple[str, int], ...]]


def check_place(path: Path) -> None:
    """Refuse to replace anything but kept figures, before minutes are spent on measuring."""
    shown = safe(str(path))
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise CannotWrite(f"cannot write {shown}", cause="it is a folder, or its folder is missing")
    if path.exists():
        try:
            read(path)
        except BadInput:
            raise CannotWrite(
                f"{shown} exists and holds no figures of `modelkit bench`",
                hint="choose another name for --save",
            ) from None


def save(report: BenchReport, path: Path) -> None:
    """Keep ``report`` in ``path``, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    progress.temporary(str(beside))
    try:
        beside.write_text(json.dumps(reports.to_json(report), indent=1) + "\n")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise CannotWrite(f"cannot write {safe(str(path))}", cause=safe(str(error))) from None
    finally:
        progress.settled(str(beside))


def read(path: Path) -> BenchReport:
    """The figures kept in ``path``.

    Raises:
        BadInput: it is missing or holds something else.
    """
    try:
        found: Any = reports.from_json(json.loads(path.read_text()))
        if not isinstance(found, BenchReport):
            raise TypeError("a report of another verb")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{safe(str(path))} holds no kept figures",
            cause=safe(str(error)),
            hint="make them with `modelkit bench --save`",
        ) from None
    return found


def against_kept(report: BenchReport, kept: BenchReport, wall: bool) -> list[tuple[str, float]]:
    """Each row that was kept too, with the kept time over its own.

    Raises:
        UsageError: the kept figures are of another machine, runtime, setting or size.
    """
    sizes = [[point.shapes for point in each.points] for each in (kept, report)]
    differing = [
        (what, getattr(kept, what), getattr(report, what))
        for what in ("machine", "runtime", "threads", "options")
        if getattr(kept, what) != getattr(report, what)
    ]
    if sizes[0] != sizes[1]:
        differing.append(("shapes", sizes[0], sizes[1]))
    for what, there, here in differing:
        raise UsageError(
            f"the kept figures differ in {what}",
            cause=f"kept: {safe(str(there))}; here: {safe(str(here))}",
            hint="measure the baseline here and with the same options, with --save",
            code="other-baseline",
        )
    before = {key: _time(row, wall) for key, row in _rows(kept)}
    return [
        (_name(key), before[key] / _time(row, wall)) for key, row in _rows(report) if key in before
    ]


def merge(paths: Sequence[Path]) -> MergeReport:
    """Figures kept on several machines, side by side.

    Raises:
        BadInput: a file holds no kept figures.
        UsageError: fewer than two, or no candidate is in more than one of them.
    """
    if len(paths) < 2:
        raise UsageError("--merge wants the kept figures of two machines or more")
    found = [read(path) for path in paths]
    tables = [dict(_rows(report)) for report in found]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    if not any(sum(key in table for table in tables) > 1 for key in keys):
        raise UsageError(
            "the files have no model, provider and size in common",
            hint="bench the same models with the same --dim on each machine",
        )
    rows = [
        MergedRow(
            key[0],
            key[1],
            dict(key[2]),
            tuple(t[key].median_ms if key in t else None for t in tables),
            tuple(t[key].speedup.median if key in t else None for t in tables),
        )
        for key in keys
    ]
    machines = tuple(f"{r.machine}, {r.runtime}, {r.threads} thread(s)" for r in found)
    return MergeReport(machines, tuple(rows))


def _rows(report: BenchReport) -> list[tuple[Key, BenchRow]]:
    return [
        ((row.name, row.provider, tuple(sorted(point.dims.items()))), row)
        for point in report.points
        for row in point.rows
        if not row.error
    ]


def _name(key: Key) -> str:
    dims = " ".join(f"{name}={length}" for name, length in key[2])
    return f"{key[0]} on {key[1]}" + (f" at {dims}" if dims else "")


def _time(row: BenchRow, wall: bool) -> float:
    return row.median_ms if wall else row.cpu_ms
