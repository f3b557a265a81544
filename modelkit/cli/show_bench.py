"""The views of ``bench``."""

from collections import defaultdict
from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from modelkit import reports
from modelkit.cli.figures import byte_size, decibels, factor, milliseconds, operations
from modelkit.cli.render import lines, notes, row, table
from modelkit.safe import safe

_TOP = 12


@lines.register
def _(report: reports.BenchReport) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(f"{report.machine}, {report.runtime}, {report.threads} thread(s)")
    ]
    parts += [_point(point, report.concurrency) for point in report.points]
    if report.roof is not None:
        roof = report.roof
        parts.append(
            Text(
                f"roofline: this machine does {roof.gflops:.0f} GFLOP/s (float32) and moves"
                f" {roof.gbytes:.1f} GB/s; a run of the first model needs"
                f" {operations(roof.model_flops)} and {byte_size(roof.model_bytes)}"
            )
        )
    for point in report.points[:1]:
        parts += [_placement(each) for each in point.rows if each.placement is not None]
    if report.profiles:
        parts.append(_operators(report.profiles))
        parts += [_nodes(profile) for profile in report.profiles]
    return parts + notes(report.notes)


def _point(point: reports.BenchPoint, callers: int) -> Table:
    title = " ".join(f"{safe(name, 40)}{shape}" for name, shape in point.shapes.items())
    columns = ["model", "provider", "size", "median"]
    columns += ["per item"] if point.items > 1 else []
    columns += ["p95", "CPU", "speed-up (95 % interval)"]
    columns += [f"items/s with {callers} callers"] if callers else []
    judged = any(each.quality for each in point.rows)
    roofline = any(each.roofline is not None for each in point.rows)
    columns += ["roofline"] if roofline else []
    columns += ["cosine", "SQNR", "top-10 overlap"] if judged else ["load", "first run", "peak"]
    found = table(title, *columns, right=2)
    for each in point.rows:
        if each.error:
            row(found, each.name, each.provider, "not run")
            continue
        cells = [each.name, each.provider, byte_size(each.bytes), milliseconds(each.median_ms)]
        cells += [milliseconds(each.median_ms / point.items)] if point.items > 1 else []
        cells += [milliseconds(each.p95_ms), milliseconds(each.cpu_ms), factor(each.speedup)]
        cells += [f"{each.throughput:.1f}"] if callers else []
        if roofline:
            cells.append("-" if each.roofline is None else f"{each.roofline:.0%}")
        row(found, *cells, *(_quality(each) if judged else _costs(each)))
    for each in point.rows:
        if each.error:
            found.caption = Text(f"{each.provider} not run: {safe(each.error, 300)}", style="red")
            found.caption_justify = "left"
    return found


def _quality(each: reports.BenchRow) -> tuple[str, str, str]:
    if each.quality is None:
        return "reference", "-", "-"
    top10 = "-" if each.quality.top10 is None else f"{each.quality.top10:.1%}"
    return f"{each.quality.cosine:.5f}", decibels(each.quality.sqnr), top10


def _costs(each: reports.BenchRow) -> tuple[str, str, str]:
    """Time to load, time of the first run, memory; a framework is loaded by us, not timed."""
    load = milliseconds(each.load_ms) if each.peak_mb else "-"
    peak = f"{each.peak_mb:.0f} MB" if each.peak_mb else "-"
    return load, milliseconds(each.first_ms), peak


def _placement(each: reports.BenchRow) -> Table:
    place = each.placement
    assert place is not None
    title = f"{safe(each.name, 80)} on {each.provider}: {place.copies} copies between devices"
    found = table(title, "provider", "nodes", "time a run", right=1)
    for name, count in place.nodes.items():
        row(found, name, count, milliseconds(place.micros.get(name, 0.0) / 1000))
    return found


def _operators(profiles: Sequence[reports.BenchProfile]) -> Table:
    """Time by operator and provider, a column a model, and what changed from first to last."""
    micros: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * len(profiles))
    for index, profile in enumerate(profiles):
        for node in profile.nodes:
            micros[node.op, node.provider][index] += node.micros
    columns = [f"{safe(profile.name, 60)}" for profile in profiles]
    change = ["change"] if len(profiles) > 1 else []
    found = table("time by operator", "operator", "provider", *columns, *change, right=2)
    totals = [max(sum(node.micros for node in profile.nodes), 1e-9) for profile in profiles]
    shown = sorted(micros.items(), key=lambda item: -max(item[1]))
    for (op, provider), values in shown[:_TOP]:
        cells = [
            f"{milliseconds(v / 1000)} {v / t:4.0%}" for v, t in zip(values, totals, strict=True)
        ]
        row(found, op, provider, *cells, *_change(values))
    if len(shown) > _TOP:
        rest = [sum(values[i] for _, values in shown[_TOP:]) for i in range(len(profiles))]
        cells = [milliseconds(value / 1000) for value in rest]
        row(found, f"{len(shown) - _TOP} more", "", *cells, *_change(rest))
    return found


def _change(values: Sequence[float]) -> list[str]:
    if len(values) < 2:
        return []
    difference = (values[-1] - values[0]) / 1000
    return [("+" if difference > 0 else "-") + milliseconds(abs(difference))]


def _nodes(profile: reports.BenchProfile) -> Table:
    title = f"slowest nodes of {safe(profile.name, 80)} on {profile.provider}"
    found = table(title, "node", "operator", "output", "provider", "time", right=4)
    for node in profile.nodes[:_TOP]:
        name = safe(node.node, 60)
        row(found, name, node.op, node.shapes, node.provider, milliseconds(node.micros / 1000))
    return found


@lines.register
def _(report: reports.MergeReport) -> list[RenderableType]:
    letters = [chr(ord("A") + index) for index in range(len(report.machines))]
    named = zip(letters, report.machines, strict=True)
    parts: list[RenderableType] = [Text(f"{letter}: {safe(name)}") for letter, name in named]
    columns = [f"{what} {letter}" for what in ("median", "speed-up") for letter in letters]
    found = table("kept figures", "model", "provider", "axes", *columns, right=3)
    for each in report.rows:
        axes = " ".join(f"{safe(name, 40)}={length}" for name, length in each.dims.items())
        cells = ["-" if v is None else milliseconds(v) for v in each.median_ms]
        cells += ["-" if v is None else f"{v:.2f}x" for v in each.speedup]
        row(found, each.name, each.provider, axes, *cells)
    return [*parts, found]
