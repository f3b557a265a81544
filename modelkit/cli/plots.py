"""Three kinds of plots as SVG, drawn without a library so that a page needs nothing else."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from modelkit.reports import Interval
from modelkit.safe import safe

_WIDTH, _LEFT, _RIGHT = 720, 260, 90
_ROW = 26
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
_TEXT = 'font-size="12" fill="currentColor" font-family="system-ui, sans-serif"'


@dataclass(frozen=True)
class Series:
    """A named line: (length of the axis, figure) in any order."""

    name: str
    points: list[tuple[int, Interval]]


def bars(title: str, rows: Sequence[tuple[str, Interval]]) -> str:
    """Horizontal bars from 0, each with its interval; a dashed line marks 1."""
    most = max([1.0, *(interval.high for _, interval in rows)]) * 1.05
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    height = _ROW * len(rows) + 30
    parts = []
    for index, (name, interval) in enumerate(rows):
        y = 10 + index * _ROW
        low, middle, high = (
            _LEFT + value * scale for value in (interval.low, interval.median, interval.high)
        )
        colour = _COLOURS[index % len(_COLOURS)]
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end" {_TEXT}>{_name(name)}</text>',
            f'<rect x="{_LEFT}" y="{y + 2}" width="{middle - _LEFT:.1f}" height="14"'
            f' fill="{colour}"/>',
            f'<path d="M{low:.1f} {y + 9}H{high:.1f}M{low:.1f} {y + 5}v8M{high:.1f} {y + 5}v8"'
            ' stroke="currentColor" fill="none"/>',
            f'<text x="{high + 6:.1f}" y="{y + 13}" {_TEXT}>{interval.median:.2f}x</text>',
        ]
    one = _LEFT + scale
    parts.append(
        f'<path d="M{one:.1f} 4V{height - 20}" stroke="currentColor" stroke-dasharray="3 3"'
        ' opacity=".6"/>'
    )
    return _figure(title, _WIDTH, height, parts)


def lines_plot(title: str, axis: str, series: Sequence[Series]) -> str:
    """Figures against a logarithmic axis of lengths, with a bar of the interval at each point."""
    lengths = sorted({max(x, 1) for line in series for x, _ in line.points})
    values = [value for line in series for _, i in line.points for value in (i.low, i.high)]
    low, high = min([1.0, *values]) * 0.95, max([1.0, *values]) * 1.05
    left, top, width, height = 60, 10, _WIDTH - 90, 240
    first, last = math.log(lengths[0]), math.log(lengths[-1])

    def x_of(length: int) -> float:
        return left + (math.log(max(length, 1)) - first) / max(last - first, 1e-9) * width

    def y_of(value: float) -> float:
        return top + (high - value) / (high - low) * height

    parts = [
        f'<text x="{x_of(n):.1f}" y="{top + height + 16}" text-anchor="middle" {_TEXT}>{n}</text>'
        for n in lengths
    ]
    parts.append(
        f'<text x="{left + width / 2}" y="{top + height + 34}" text-anchor="middle" {_TEXT}>'
        f"{_name(axis)}</text>"
    )
    for value in _ticks(low, high):
        y = y_of(value)
        dash = ' stroke-dasharray="3 3"' if value == 1 else ' opacity=".25"'
        parts += [
            f'<path d="M{left} {y:.1f}h{width}" stroke="currentColor"{dash}/>',
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" {_TEXT}>{value:g}x</text>',
        ]
    for index, line in enumerate(series):
        colour = _COLOURS[index % len(_COLOURS)]
        points = sorted(line.points, key=lambda point: point[0])
        places = [(x_of(x), interval) for x, interval in points]
        path = " ".join(f"{x:.1f},{y_of(i.median):.1f}" for x, i in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<path d="M{x:.1f} {y_of(i.low):.1f}V{y_of(i.high):.1f}" stroke="{colour}"/>'
            f'<circle cx="{x:.1f}" cy="{y_of(i.median):.1f}" r="3" fill="{colour}"/>'
            for x, i in places
        ]
        y = top + height + 54 + 18 * index
        parts += [
            f'<rect x="{left}" y="{y - 10}" width="12" height="12" fill="{colour}"/>',
            f'<text x="{left + 18}" y="{y}" {_TEXT}>{_name(line.name, 100)}</text>',
        ]
    return _figure(title, _WIDTH, top + height + 60 + 18 * len(series), parts)


@dataclass(frozen=True)
class Spot:
    """A point of a scatter: its name, where it lies, and whether it stands out."""

    name: str
    x: float
    y: float
    marked: bool = False


def scatter(title: str, across: str, up: str, spots: Sequence[Spot]) -> str:
    """Named spots over two axes; those that stand out are filled."""
    left, top, width, height = 60, 10, _WIDTH - 260, 280
    xs, ys = [spot.x for spot in spots], [spot.y for spot in spots]
    (x0, x1), (y0, y1) = (_room(xs), _room(ys))
    parts = []
    for value in _ticks(x0, x1, one=False):
        x = left + (value - x0) / (x1 - x0) * width
        parts += [
            f'<path d="M{x:.1f} {top}v{height}" stroke="currentColor" opacity=".25"/>',
            f'<text x="{x:.1f}" y="{top + height + 16}" text-anchor="middle" {_TEXT}>'
            f"{value:g}</text>",
        ]
    for value in _ticks(y0, y1, one=False):
        y = top + (y1 - value) / (y1 - y0) * height
        parts += [
            f'<path d="M{left} {y:.1f}h{width}" stroke="currentColor" opacity=".25"/>',
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" {_TEXT}>{value:g}</text>',
        ]
    for spot in spots:
        x = left + (spot.x - x0) / (x1 - x0) * width
        y = top + (y1 - spot.y) / (y1 - y0) * height
        fill = _COLOURS[0] if spot.marked else "none"
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{_COLOURS[0]}"/>',
            f'<text x="{x + 9:.1f}" y="{y + 4:.1f}" {_TEXT}>{_name(spot.name)}</text>',
        ]
    middle = left + width / 2
    parts.append(
        f'<text x="{middle}" y="{top + height + 36}" text-anchor="middle" {_TEXT}>'
        f"{_name(across, 60)}; up: {_name(up, 60)}</text>"
    )
    return _figure(title, _WIDTH, top + height + 44, parts)


def _room(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    space = 0.08 * (high - low) or max(abs(high) * 0.1, 0.1)
    return low - space, high + space


def _ticks(low: float, high: float, *, one: bool = True) -> list[float]:
    """About five round values between, and ``one``."""
    step = 10 ** math.floor(math.log10(max((high - low) / 5, 1e-9)))
    step *= next(k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= 6)
    first = math.ceil(low / step)
    found = [round(step * index, 10) for index in range(first, math.floor(high / step) + 1)]
    return sorted({*found, *([1.0] if one else [])})


def _name(text: str, limit: int = 38) -> str:
    shown = safe(text, 300)
    return html.escape(shown if len(shown) <= limit else f"{shown[: limit - 1]}…")


def _figure(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    inner = "".join(parts)
    return (
        f"<h2>{html.escape(title)}</h2>"
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-label="{html.escape(title)}">{inner}</svg>'
    )
