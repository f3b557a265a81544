"""``bench``: time models, and the framework they came from, in one interleaved run."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from modelkit import progress
from modelkit.benchmark import kept
from modelkit.benchmark.roofline import roof, share
from modelkit.benchmark.rows import Row, open_rows
from modelkit.benchmark.throughput import throughput
from modelkit.comparison import quality
from modelkit.errors import CheckFailed, UsageError
from modelkit.reports import (
    BenchPoint,
    BenchProfile,
    BenchReport,
    BenchRow,
    Interval,
    MergeReport,
    Roof,
)
from modelkit.runtime import bench
from modelkit.runtime.data import read_data
from modelkit.runtime.data.given import given_samples
from modelkit.runtime.feeds import typical_feeds
from modelkit.runtime.machine import machine_name, slowed, throttle_count
from modelkit.runtime.peak import peak_of
from modelkit.runtime.profile import node_times, trace
from modelkit.runtime.providers import label
from modelkit.runtime.session import Feeds, open_session, version
from modelkit.runtime.setups import SessionArguments, setups
from modelkit.safe import safe

__all__ = ["bench_files", "machine_name", "merge_files"]

_SECONDS = 5.0
_NOISY = 0.25  # quartile distance over median
_BUSY = 1.2  # wall time over CPU time of work on one thread
_MOST_POINTS = 64


@dataclass(frozen=True)
class _Plan:
    """What is measured at every point."""

    seconds: float
    runs: int
    warmup: int
    concurrency: int
    io_binding: bool
    seed: int
    eval_data: Path | None
    roofline: bool


def bench_files(
    models: list[str],
    *,
    against: str | None = None,
    providers: str = "cpu",
    dims: Mapping[str, Sequence[int]] | None = None,
    runs: int = 0,
    duration: float = 0.0,
    warmup: int = 0,
    concurrency: int = 0,
    io_binding: bool = False,
    profile: bool = False,
    roofline: bool = False,
    save: str | None = None,
    baseline: str | None = None,
    fail_if_slower: str | None = None,
    eval_data: str | None = None,
    seed: int = 0,
    **session: Unpack[SessionArguments],
) -> BenchReport:
    """Time each model on each row of providers; the first row is the baseline of the speed-ups.

    ``dims`` gives lengths of axes, and every combination of them is a point (default: one, of
    usual lengths; see ``typical_feeds``).  ``duration`` is seconds of timed runs
    per row and point (default 5); ``runs`` their number instead; ``warmup`` runs before them each
    time a model is opened (default: by time).  ``concurrency`` threads share a session for the
    throughput.  ``eval_data`` are real inputs on which the rows are compared with the first, and
    timed where the model runs on no generated ones.  ``profile`` adds where the time goes,
    ``roofline`` how near it is to what the machine can do.
    ``save`` keeps the figures in a file that ``baseline`` reads.

    Raises:
        CheckFailed: slower than ``fail_if_slower`` (as "5%") allows: with ``baseline`` any row
            against its kept figure, else the last row against the first.
        UsageError: the models take different inputs, or ``baseline`` is of another machine,
            runtime, setting or size.
        ProviderMissing: no row could be run; one that could not is in the report.
    """
    rows_of_setups = setups(providers, session)
    threads = rows_of_setups[0].threads
    numbers = {"runs": runs, "duration": duration, "warmup": warmup, "concurrency": concurrency}
    _check_numbers(numbers)
    limit = _percent(fail_if_slower)
    before = kept.read(Path(baseline)) if baseline is not None else None
    if save is not None:
        kept.check_place(Path(save))
    paths = [Path(model) for model in models]
    points = list(_points(dims or {}))
    real = given_samples(paths[0], eval_data, most=1)[0][0] if eval_data is not None else None
    feeds = [typical_feeds(paths[0], dims=point, seed=seed, real=real) for point in points]
    rows, failed = open_rows(paths, against, rows_of_setups, feeds[0], io_binding=io_binding)
    data = Path(eval_data) if eval_data is not None else None
    plan = _Plan(duration or _SECONDS, runs, warmup, concurrency, io_binding, seed, data, roofline)
    wall = threads != 1 or not bench.FINE_CPU_CLOCK or not all(row.on_cpu for row in rows)
    timed = [
        _point(point, given, rows, failed, plan, wall)
        for point, given in zip(points, feeds, strict=True)
    ]
    report = BenchReport(
        machine=machine_name(),
        runtime=f"ONNX Runtime {version()}",
        threads=threads,
        points=tuple(point for point, _, _ in timed),
        notes=tuple(dict.fromkeys(note for _, notes, _ in timed for note in notes)),
        options=_options(rows_of_setups[0].graph_level, session, plan),
        concurrency=concurrency,
        roof=timed[0][2],
        profiles=tuple(_profiles(rows, feeds[0])) if profile else (),
    )
    speeds = kept.against_kept(report, before, wall) if before is not None else None
    if save is not None:
        kept.save(report, Path(save))
    if speeds is not None:
        notes = [f"{safe(name)}: {speed:.2f}x its baseline" for name, speed in speeds]
        report = replace(report, notes=(*report.notes, *notes))
    if limit is not None:
        _check_speed(report.points, limit, speeds)
    return report


def merge_files(files: list[str]) -> MergeReport:
    """Figures that ``bench_files`` kept on several machines, side by side; see ``kept.merge``."""
    return kept.merge([Path(file) for file in files])


def _points(dims: Mapping[str, Sequence[int]]) -> Iterator[dict[str, int]]:
    """Every combination of lengths, in the order of the first axis given."""
    count = math.prod(len(lengths) for lengths in dims.values())
    if count > _MOST_POINTS:
        raise UsageError(
            f"{count} combinations of --dim are more than {_MOST_POINTS}",
            hint="give fewer lengths, or run it in parts",
        )
    for lengths in itertools.product(*dims.values()):
        yield dict(zip(dims, lengths, strict=True))


def _point(
    dims: dict[str, int],
    feeds: Feeds,
    rows: Sequence[Row],
    failed: Sequence[BenchRow],
    plan: _Plan,
    wall: bool,
) -> tuple[BenchPoint, list[str], Roof | None]:
    """Time all rows on ``feeds``: the point, its notes, and the roof where one is wanted."""
    shown = " ".join(f"{name}={length}" for name, length in dims.items())
    progress.step(f"timing {shown}".strip())
    candidates = [row.candidate for row in rows]
    hot = throttle_count()
    timed = bench.interleave(
        candidates,
        feeds,
        seconds=plan.seconds,
        runs=plan.runs,
        warmup=plan.warmup,
        seed=plan.seed,
    )
    hot = throttle_count() - hot
    figures = [
        _row(row, samples, timed[0], peak, wall)
        for row, samples, peak in zip(rows, timed, _peaks(rows, feeds), strict=True)
    ]
    items = next((value.shape[0] for value in feeds.values() if value.ndim), 1)
    if plan.concurrency:
        progress.step(f"throughput {shown}".strip())
        rates = throughput(
            candidates, feeds, callers=plan.concurrency, items=items, seconds=plan.seconds
        )
        figures = [replace(f, throughput=r) for f, r in zip(figures, rates, strict=True)]
    found = _roof(rows, feeds) if plan.roofline else None
    if found is not None:
        figures = [
            replace(figure, roofline=share(found, figure.median_ms)) if row.on_cpu else figure
            for figure, row in zip(figures, rows, strict=True)
        ]
    if plan.eval_data is not None:
        progress.step("quality")
        figures = _with_quality(figures, rows, plan.eval_data)
    shapes = {name: list(value.shape) for name, value in feeds.items()}
    notes = [*_notes(timed, rows, wall), *slowed(timed, hot)]
    return BenchPoint(dims, shapes, items, (*figures, *failed)), notes, found


def _roof(rows: Sequence[Row], feeds: Feeds) -> Roof | None:
    progress.step("measuring the machine's peaks")
    row = next((row for row in rows if row.path and row.setup), None)
    return roof(row.setup, row.path, feeds) if row and row.setup and row.path else None


def _profiles(rows: Sequence[Row], feeds: Feeds) -> Iterator[BenchProfile]:
    for row in rows:
        if row.path is not None and row.setup is not None:
            progress.step(f"profiling {safe(row.candidate.name)}")
            nodes = node_times(trace(row.setup, row.path, feeds))
            yield BenchProfile(row.candidate.name, label(row.setup.providers), nodes)


def _options(level: str, session: SessionArguments, plan: _Plan) -> dict[str, str]:
    """What a kept figure depends on beside machine, runtime, threads and sizes."""
    told = {"graph-level": level, "concurrency": str(plan.concurrency)}
    told |= {"io-binding": str(plan.io_binding)}
    for name in ("inter_op", "provider_option", "session_option"):
        if session.get(name):
            told[name.replace("_", "-")] = str(session.get(name))
    return told


def _row(
    row: Row, samples: bench.Samples, base: bench.Samples, peak: float, wall: bool
) -> BenchRow:
    times = samples.all_wall() * 1000
    p90, p95, p99 = (float(np.percentile(times, q)) for q in (90, 95, 99))
    return BenchRow(
        name=row.candidate.name,
        provider=row.provider,
        bytes=row.bytes,
        median_ms=float(np.median(times)),
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        cpu_ms=float(np.median(samples.all_cpu())) * 1000,
        speedup=Interval(1, 1, 1) if samples is base else bench.ratio(base, samples, wall=wall),
        runs=int(times.size),
        load_ms=float(np.median(samples.load)) * 1000,
        first_ms=float(np.median(samples.first)) * 1000,
        peak_mb=peak,
        placement=row.placement,
    )


def _with_quality(figures: Sequence[BenchRow], rows: Sequence[Row], data: Path) -> list[BenchRow]:
    """The rows, each with its first output compared with the first row's on real inputs."""
    model = next(row.path for row in rows if row.path is not None)
    with open_session(model) as session:
        inputs = list(read_data(data, session.inputs, tokenizer_folder=model.parent))
    with rows[0].runner() as reference:
        # Kept, so that two models need not be in memory together.
        expected = [reference(feeds) for feeds in inputs]
    found = [figures[0]]
    for figure, row in zip(figures[1:], rows[1:], strict=True):
        with row.runner() as run:
            seen = quality(expected, run, inputs)
        found.append(replace(figure, quality=seen))
    return found


def _peaks(rows: Sequence[Row], feeds: Feeds) -> list[float]:
    """MB that opening and running each model takes; 0 for a framework, and on a card."""
    places = {row.path for row in rows if row.path is not None and row.on_cpu}
    found = {place: peak_of(place, feeds) / 1e6 for place in places}
    return [found.get(row.path, 0.0) if row.path and row.on_cpu else 0.0 for row in rows]


def _notes(timed: Sequence[bench.Samples], rows: Sequence[Row], wall: bool) -> Iterator[str]:
    for samples, row in zip(timed, rows, strict=True):
        name, times = safe(row.candidate.name), samples.all_wall()
        low, middle, high = np.percentile(times, (25, 50, 75))
        if high - low > _NOISY * middle:
            yield f"{name}: noisy, half of the runs differ widely; trust the interval"
        waited = 1 - float(samples.all_cpu().sum() / times.sum())
        if not wall and waited > 1 - 1 / _BUSY:
            yield f"{name}: the machine was busy, runs waited for a core"
    kind = "wall" if wall else "CPU"
    yield f"speed-ups compare {kind} time; p95 and median are wall time"
    if not all(row.on_cpu for row in rows):
        yield "times of other providers include copying inputs and outputs, but with --io-binding"


def _check_numbers(given: Mapping[str, float]) -> None:
    for name, value in given.items():
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"--{name} {value} makes no sense", hint="give a number from 0 on")


def _percent(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = float(text.removesuffix("%")) / 100
    except ValueError:
        found = -1.0
    if not (math.isfinite(found) and found >= 0):
        raise UsageError(f"--fail-if-slower {safe(text)} is no percentage", hint="write it as 5%")
    return found


def _check_speed(
    points: Sequence[BenchPoint], limit: float, speeds: Sequence[tuple[str, float]] | None
) -> None:
    least = 1 / (1 + limit)
    if speeds is not None:
        slow = [f"{safe(n)} is {s:.2f}x the speed of its baseline" for n, s in speeds if s < least]
        cause = f"more than {limit:.0%} slower than the kept figure"
    else:
        slow = [
            f"{safe(last.name)} is {last.speedup.median:.2f}x the speed of {safe(first.name)}"
            for first, last in (_ends(point) for point in points)
            if last.speedup.high < least
        ]
        cause = f"more than {limit:.0%} slower, the whole 95 % interval"
    if slow:
        raise CheckFailed("; ".join(slow), cause=cause, code="slower")


def _ends(point: BenchPoint) -> tuple[BenchRow, BenchRow]:
    ran = [row for row in point.rows if not row.error]
    return ran[0], ran[-1]
