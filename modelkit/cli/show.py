"""Reports as text for people.

A verb that writes a file shows its table on stderr and the written path on stdout; the others show
their table on stdout, because the table is their result.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from modelkit import reports, worker
from modelkit.cli import show_bench as show_bench  # registers its views
from modelkit.cli import show_models as show_models
from modelkit.cli.figures import byte_size, count, decibels, factor, scientific
from modelkit.cli.render import lines
from modelkit.cli.render import notes as _notes
from modelkit.cli.render import row as _row
from modelkit.cli.render import table as _table
from modelkit.cli.show_search import searched
from modelkit.safe import safe

# A table in a pipe or a log file is not cut at the width of a terminal that is not there.
_PIPE_WIDTH = 160
_SHOWN = 3  # places of one kind in an explanation
_QUOTED = re.compile(r"'[^']*'")


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=False)


@contextmanager
def watching(*, quiet: bool, verbose: bool) -> Iterator["worker.Listener"]:
    """Give a listener that shows the worker's progress on stderr while the block runs.

    Warnings are always shown; notes and steps with ``verbose``; on a terminal the running step
    is one line that disappears.
    """
    console = _console(stderr=True)
    status = console.status("starting") if console.is_terminal and not quiet else None

    def listen(kind: str, text: str) -> None:
        if kind == "warning":
            console.print(Text(f"warning: {safe(text, 500)}", style="yellow"))
        elif verbose and kind in ("step", "note"):
            console.print(Text(f"{kind}: {safe(text, 500)}", style="dim"))
        if status is not None and kind == "step":
            status.update(Text(safe(text, 80)))

    if status is None:
        yield listen
        return
    with status:
        yield listen


def show(report: Any, *, quiet: bool = False) -> None:
    """Print ``report``; with ``quiet`` only what a script reads from stdout."""
    written = getattr(report, "written", None)
    console = _console(stderr=written is not None)
    if getattr(report, "up_to_date", False):
        if not quiet:
            console.print(Text("already up to date: same source, options and versions"))
    elif not quiet or written is None:
        for part in lines(report):
            console.print(part)
    if written:
        print(written)


def show_explanation(report: reports.OptimizeReport) -> None:
    """Print what fired, where, and which fusions almost did; ``--json`` has every place."""
    console = _console(stderr=True)
    for change in report.changes:
        if change.notes:
            where = _first([safe(note) for note in change.notes])
            console.print(Text(f"fired: {change.name}: {where}"))
    alike: dict[tuple[str, str], list[reports.NearMiss]] = {}
    for miss in report.near_misses:
        alike.setdefault((miss.fusion, _QUOTED.sub("", miss.reason)), []).append(miss)
    for (fusion, _), misses in alike.items():
        where = _first([safe(miss.node, 80) for miss in misses])
        line = f"not fused: {fusion} at {where}: {safe(misses[0].reason, 300)}"
        console.print(Text(line, style="yellow"))
    if not report.near_misses:
        console.print(Text("no near misses"))


def _first(places: list[str]) -> str:
    more = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _files(source: reports.FileFacts | None, result: reports.FileFacts) -> Table:
    table = _table("", "file", "size", "nodes", "parameters", "opset", "IR", right=1)
    for file in (source, result):
        if file is not None:
            opset = file.opset.get("", "-")
            size, parameters = byte_size(file.bytes), count(file.parameters)
            _row(table, file.path, size, file.nodes, parameters, opset, file.ir_version)
    return table


def _verification(check: reports.Verification) -> list[RenderableType]:
    if check.skipped:
        return [Text(f"NOT VERIFIED: {safe(check.skipped)}", style="bold red")]
    shapes = "; ".join(
        " ".join(f"{safe(name, 40)}{shape}" for name, shape in list(trial.shapes.items())[:3])
        for trial in check.trials[:3]
    )
    worst = check.worst
    figure = f", worst {worst.metric} {_metric(worst)}" if worst else ""
    state = "verified" if check.passed else "DIFFERS"
    text = f"{state}: {len(check.trials)} trials ({check.inputs}){figure}; limit {check.tolerance}"
    parts: list[RenderableType] = [
        Text(text, style="green" if check.passed else "bold red"),
        Text(f"  on {shapes}", style="dim"),
    ]
    if check.own_distance:
        errors = [error for trial in check.trials for error in trial.errors]
        raised = max((e.limit for e in errors if e.metric == "relative"), default=0.0)
        told = (
            f"  limit raised to {scientific(raised)}: rounding alone takes"
            f" the source {scientific(check.own_distance)} from itself on these inputs"
        )
        parts.append(Text(told, style="yellow"))
    if check.not_comparable:
        names = ", ".join(safe(name, 60) for name in check.not_comparable)
        parts.append(Text(f"  not comparable (random): {names}", style="yellow"))
    return parts


def _metric(error: reports.OutputError) -> str:
    if error.metric == "sqnr":
        return decibels(error.value)
    return scientific(error.value) if error.metric == "relative" else f"{error.value:.4f}"


def _speed(speed: reports.SpeedVerdict) -> list[RenderableType]:
    if speed.ratio is None:
        return [Text(f"speed: not compared ({safe(speed.reason)})", style="dim")]
    style = "green" if speed.ratio.low > 1 else ""
    told = f"speed: {factor(speed.ratio)} of the source; {safe(speed.reason)}"
    if speed.on_threads is not None:
        told += f"; {factor(speed.on_threads)} on {speed.threads} threads"
    return [Text(told, style=style)]


@lines.register
def _(report: reports.ConvertReport) -> list[RenderableType]:
    tried = ", ".join(f"{a.route}: {a.outcome}" for a in report.attempts)
    parts: list[RenderableType] = [
        Text(f"{report.framework} ({safe(report.detected, 300)}); {safe(tried, 600)}"),
        Text(f"inputs: {safe(', '.join(report.inputs), 600)}"),
        Text(f"outputs: {safe(', '.join(report.outputs), 600)}"),
        _files(None, report.result),
        *_verification(report.verification),
    ]
    if report.copied:
        parts.append(Text(f"copied beside it: {safe(', '.join(report.copied), 500)}", style="dim"))
    return parts + _notes(report.notes)


@lines.register
def _(report: reports.FormatsReport) -> list[RenderableType]:
    table = _table(
        "sources of convert", "format", "recognised by", "library here", "extra", right=4
    )
    for each in report.formats:
        library = each.library if each.converts else "not convertible"
        _row(table, each.name, each.detected_by, library or "none needed", each.extra or "-")
    return [table]


@lines.register
def _(report: reports.OptimizeReport) -> list[RenderableType]:
    how = f"level {report.level}, target {report.target}"
    made: list[RenderableType] = [Text(f"{how}: nothing to rewrite")]
    if any(change.count for change in report.changes):
        changes = _table("", "rewrite", "count")
        for change in report.changes:
            if change.count:
                _row(changes, change.name, change.count)
        operators = _operators(report.operators_before, report.operators_after)
        made = [Text(how, style="bold"), changes, operators]
    return [
        *made,
        _files(report.source, report.result),
        *_verification(report.verification),
        *_speed(report.speed),
        *_notes(report.notes),
    ]


def _operators(before: dict[str, int], after: dict[str, int]) -> Table:
    """What each operator's count became, those that changed most first."""
    table = _table("operators", "operator", "before", "after", "change")
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    for name in sorted(names, key=lambda n: (-abs(after.get(n, 0) - before.get(n, 0)), n)):
        old, new = before.get(name, 0), after.get(name, 0)
        _row(table, safe(name, 60), old, new, f"{new - old:+d}")
    old, new = sum(before.values()), sum(after.values())
    _row(table, "all", old, new, f"{new - old:+d}")
    return table


@lines.register
def _(report: reports.RewritesReport) -> list[RenderableType]:
    table = _table(
        "passes and fusions of optimize", "name", "kind", "level", "what it does", right=4
    )
    for each in report.rewrites:
        _row(table, each.name, each.kind, each.level, each.line)
    return [table]


@lines.register
def _(report: reports.QuantizeReport) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(f"{report.mode}: {report.quantized} of {report.candidates} layers quantized"),
    ]
    if report.skips:
        table = _table("left as they were", "layer", "operator", "why", right=3)
        for skip in report.skips[:20]:
            _row(table, safe(skip.node, 60), skip.op, skip.reason)
        parts.append(table)
        if len(report.skips) > 20:
            parts.append(Text(f"  and {len(report.skips) - 20} more (all in --json)"))
    parts += [
        *searched(report),
        _files(report.source, report.result),
        *_verification(report.verification),
        *_speed(report.speed),
    ]
    return parts + _notes(report.notes)


@lines.register
def _(report: reports.PrecisionReport) -> list[RenderableType]:
    casts = f"{report.casts} casts put in, {report.casts_removed} taken out"
    if report.cast_share is not None:
        casts += f"; they read {report.cast_share:.1%} of all values"
    parts: list[RenderableType] = [
        Text(f"{report.half}: {report.in_half} nodes in half; {casts}"),
    ]
    if report.kept:
        found = Counter((skip.op, skip.reason) for skip in report.kept)
        table = _table("keep float", "operator", "nodes", "why", right=3)
        for (kind, reason), number in found.most_common(20):
            _row(table, kind, number, safe(reason, 200))
        parts.append(table)
    parts += [
        _files(report.source, report.result),
        *_verification(report.verification),
        *_speed(report.speed),
    ]
    return parts + _notes(report.notes)
