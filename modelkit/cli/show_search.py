"""The candidates of a search, and the layers that lose most."""

from rich.console import RenderableType
from rich.table import Table

from modelkit import reports
from modelkit.cli.figures import byte_size, decibels
from modelkit.cli.render import row, table
from modelkit.safe import safe

_LAYERS = 10


def searched(report: reports.QuantizeReport) -> list[RenderableType]:
    """Tables of a report that comes from a search, else nothing."""
    if not report.points:
        return []
    return [candidates(report.points), *([noisiest(report.layers)] if report.layers else [])]


def candidates(points: tuple[reports.Point, ...]) -> Table:
    """A row a candidate; ``front`` marks those that no other beats in every way."""
    made = table(
        "candidates",
        *("candidate", "SQNR", "agreement", "score falls", "size", "speed-up", "front", "goal"),
    )
    for point in points:
        ratio = point.ratio
        speed = f"{ratio.median:.2f}x ({ratio.low:.2f}-{ratio.high:.2f})" if ratio else "-"
        verdict = "chosen" if point.chosen else "met" if point.meets else "missed"
        row(
            made,
            safe(point.name, 60),
            decibels(point.sqnr),
            "-" if point.agreement is None else f"{point.agreement:.2%}",
            "-" if point.drop is None else f"{point.drop:.2%}",
            byte_size(point.bytes),
            speed,
            "yes" if on_front(point, points) else "",
            verdict,
        )
    return made


def noisiest(layers: tuple[reports.LayerNoise, ...]) -> Table:
    """The layers that lose most alone."""
    made = table(f"noisiest of {len(layers)} layers", "layer", "SQNR alone")
    for layer in layers[:_LAYERS]:
        row(made, safe(layer.node, 80), decibels(layer.sqnr))
    return made


def on_front(point: reports.Point, points: tuple[reports.Point, ...]) -> bool:
    """Whether no other candidate is at least as near, small and fast, and better in one."""
    own = _merits(point)
    for other in points:
        theirs = _merits(other)
        if other is not point and theirs != own:
            pairs = list(zip(own, theirs, strict=True))
            # What was not timed cannot be said to be slower.
            if all(b >= a for a, b in pairs if a is not None and b is not None):
                return False
    return True


def _merits(point: reports.Point) -> tuple[float | None, ...]:
    speed = point.ratio.median if point.ratio is not None else None
    return (point.sqnr, -float(point.bytes), speed)
