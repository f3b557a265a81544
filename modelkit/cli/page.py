"""A report as one HTML page: tables and plots, offline, without a script.

Everything that came out of a model passes ``safe`` and is escaped; the page's own policy forbids
scripts and anything from elsewhere, so that a name that slips through still does nothing.
"""

import html
import os
from collections.abc import Iterator
from functools import singledispatch
from pathlib import Path
from typing import Any

from rich.table import Table

from modelkit import __version__, reports
from modelkit.cli import show as show  # registers the views
from modelkit.cli.plots import Series, Spot, bars, lines_plot, scatter
from modelkit.cli.render import lines, plain
from modelkit.errors import CannotWrite
from modelkit.safe import safe

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_MARK = "<!-- written by modelkit -->"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--dim); }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td { overflow-wrap: break-word; max-width: 24rem; } p { margin: .3rem 0; overflow-wrap: anywhere; }
.r { text-align: right; white-space: nowrap; }
.wide { overflow-x: auto; } svg { max-width: 100%; height: auto; } footer { color: var(--dim); }
"""


def check_page(path: Path) -> None:
    """Refuse a place that cannot be written, or that holds something we did not write.

    Raises:
        CannotWrite: it is a folder, has no folder, or is a file of somebody else.
    """
    shown = safe(str(path))
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise CannotWrite(f"cannot write {shown}", cause="it is a folder, or its folder is missing")
    if path.exists():
        with path.open("rb") as file:
            head = file.read(200)
        if _MARK.encode() not in head:
            raise CannotWrite(
                f"{shown} exists and is no report of modelkit",
                hint="choose another name for --report",
            )


def write_page(report: Any, path: Path) -> None:
    """Write ``report`` to ``path``, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(page(report), encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise CannotWrite(f"cannot write {safe(str(path))}", cause=safe(str(error))) from None


def page(report: Any) -> str:
    """The whole page as text."""
    title = f"modelkit: {type(report).__name__.removesuffix('Report').lower()}"
    body = "\n".join([*_parts(report), *plots(report)])
    return f"""<!doctype html>
{_MARK}
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{_STYLE}</style></head>
<body><h1>{title}</h1>
{body}
<footer><p>modelkit {__version__}</p></footer></body></html>
"""


def _parts(report: Any) -> Iterator[str]:
    for part in lines(report):
        yield _table(part) if isinstance(part, Table) else f"<p>{escaped(plain(part))}</p>"


def _table(table: Table) -> str:
    title = f"<h2>{escaped(plain(table.title))}</h2>" if table.title else ""
    sides = [' class="r"' if column.justify == "right" else "" for column in table.columns]
    heads = zip(table.columns, sides, strict=True)
    head = "".join(f"<th{side}>{escaped(plain(c.header))}</th>" for c, side in heads)
    rows = []
    for cells in zip(*(list(column.cells) for column in table.columns), strict=True):
        pairs = zip(cells, sides, strict=True)
        rows.append("".join(f"<td{side}>{escaped(plain(cell))}</td>" for cell, side in pairs))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    inner = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'{title}<div class="wide">{inner}</div>'


def escaped(text: str) -> str:
    """``text`` harmless in HTML, between tags and in attributes."""
    return html.escape(safe(text, 1000))


@singledispatch
def plots(report: Any) -> list[str]:
    """Plots of the report as SVG; none by default."""
    return []


@plots.register
def _(report: reports.BenchReport) -> list[str]:
    first = report.points[0]
    ran = [row for row in first.rows if not row.error]
    found = [
        bars(
            "speed-up over the first row, 95 % interval",
            [(f"{row.name} ({row.provider})", row.speedup) for row in ran],
        )
    ]
    axes = list(dict.fromkeys(axis for point in report.points for axis in point.dims))
    for axis in axes:
        if len({point.dims.get(axis) for point in report.points}) < 2:
            continue
        found.append(lines_plot(f"speed-up against {axis}", axis, _series(report, axis)))
    return found


@plots.register
def _(report: reports.QuantizeReport) -> list[str]:
    timed = [(each, each.ratio.median) for each in report.points if each.ratio is not None]
    if not timed:
        return []
    spots = [Spot(each.name, speed, min(each.sqnr, 150), each.chosen) for each, speed in timed]
    title = "closeness against speed; the filled one was chosen"
    return [scatter(title, "speed-up over the float model", "SQNR in dB", spots)]


def _series(report: reports.BenchReport, axis: str) -> list[Series]:
    """A line for each row but the first, and each combination of the other axes."""
    found: dict[str, Series] = {}
    for point in report.points:
        others = " ".join(f"{n}={v}" for n, v in point.dims.items() if n != axis)
        for row in point.rows[1:]:
            if row.error or axis not in point.dims:
                continue
            name = f"{row.name} ({row.provider}) {others}".strip()
            found.setdefault(name, Series(name, [])).points.append((point.dims[axis], row.speedup))
    return list(found.values())
