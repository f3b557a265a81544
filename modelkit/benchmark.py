"""``bench``: time models, and the framework they came from, in one interleaved run."""

import json
import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from modelkit import progress, reports
from modelkit.comparison import quality
from modelkit.errors import (
    BadInput,
    CannotWrite,
    CheckFailed,
    ModelkitError,
    ProviderMissing,
    UsageError,
)
from modelkit.model import facts, load
from modelkit.reports import BenchReport, BenchRow, Interval
from modelkit.runtime import bench
from modelkit.runtime.feeds import typical_feeds
from modelkit.runtime.peak import peak_of
from modelkit.runtime.preprocess import read_data
from modelkit.runtime.providers import CPU, Provider, label, parse
from modelkit.runtime.session import Feeds, Run, open_session, version
from modelkit.safe import safe

_SECONDS = 5.0
_EAGER = "eager"
_NOISY = 0.25  # quartile distance over median
_BUSY = 1.2  # wall time over CPU time of work on one thread


def bench_files(
    models: list[str],
    *,
    against: str | None = None,
    providers: str = "cpu",
    dims: dict[str, int] | None = None,
    runs: int = 0,
    duration: float = 0.0,
    warmup: int = 0,
    threads: int = 1,
    allow_fallback: bool = False,
    save: str | None = None,
    baseline: str | None = None,
    fail_if_slower: str | None = None,
    eval_data: str | None = None,
    seed: int = 0,
) -> BenchReport:
    """Time each model on each row of providers; the first row is the baseline of the speed-ups.

    ``duration`` is seconds of timed runs per row (default 5); ``runs`` their number instead;
    ``warmup`` runs before them each time a model is opened (default: by time); ``dims`` fixes
    axes (default: batch 1 and sequence 128 where axes have these names); ``eval_data`` are real
    inputs on which the rows are compared with the first.  ``save`` keeps the figures in a file
    that ``baseline`` reads.

    Raises:
        CheckFailed: slower than ``fail_if_slower`` (as "5%") allows: with ``baseline`` any row
            against its kept figure, else the last row against the first.
        UsageError: the models take different inputs, or ``baseline`` is of another machine,
            runtime, thread count or shapes.
        ProviderMissing: no row could be run; one that could not is in the report.
    """
    _check_numbers({"runs": runs, "duration": duration, "warmup": warmup, "intra-op": threads})
    limit = _percent(fail_if_slower)
    kept = _kept(Path(baseline)) if baseline is not None else None
    if save is not None:
        _check_place(Path(save))
    paths = [Path(model) for model in models]
    progress.step("choosing inputs")
    feeds = typical_feeds(paths[0], dims=dims, seed=seed)
    rows, failed = _rows(paths, against, providers, threads, allow_fallback, feeds)
    wall = threads != 1 or not bench.FINE_CPU_CLOCK or not all(_on_cpu(row) for row in rows)
    progress.step("timing")
    candidates = [row[0] for row in rows]
    timed = bench.interleave(
        candidates, feeds, seconds=duration or _SECONDS, runs=runs, warmup=warmup, seed=seed
    )
    figures = [
        _row(row, samples, timed[0], peak, wall)
        for row, samples, peak in zip(rows, timed, _peaks(rows, feeds), strict=True)
    ]
    if eval_data is not None:
        progress.step("quality")
        figures = _with_quality(figures, rows, paths[0], Path(eval_data))
    report = BenchReport(
        machine_name(),
        f"ONNX Runtime {version()}",
        threads,
        {name: list(value.shape) for name, value in feeds.items()},
        tuple(figures + failed),
        tuple(_notes(timed, rows, wall)),
    )
    speeds = _against_kept(report, kept, wall) if kept is not None else None
    if save is not None:
        _save(report, Path(save))
    if speeds is not None:
        notes = [f"{safe(name)}: {speed:.2f}x its baseline" for name, speed in speeds]
        report = replace(report, notes=(*report.notes, *notes))
    if limit is not None:
        _check_speed(figures, limit, speeds)
    return report


Row = tuple[bench.Candidate, str, int, Path | None]


def _rows(
    paths: list[Path],
    against: str | None,
    providers: str,
    threads: int,
    allow_fallback: bool,
    feeds: Feeds,
) -> tuple[list[Row], list[BenchRow]]:
    rows: list[Row] = []
    failed: list[BenchRow] = []
    if against is not None:
        rows.append((_framework(against, threads, feeds), _EAGER, _size(Path(against)), None))
    names = [path.name for path in paths]
    for path in paths:
        name = path.name if names.count(path.name) == 1 else str(path)
        size = facts(load(path), path).bytes
        for row in parse(providers):
            candidate = bench.onnx_candidate(
                path, name=name, providers=row, threads=threads, allow_fallback=allow_fallback
            )
            try:
                _try(path, row, threads, allow_fallback, feeds)
            except ModelkitError as error:
                if row == (CPU,) or isinstance(error, UsageError):
                    raise
                failed.append(_missing(name, label(row), size, error))
                continue
            rows.append((candidate, label(row), size, path))
    if not rows:
        raise ProviderMissing("no row could be run", cause=failed[0].error)
    return rows, failed


def _try(
    path: Path, row: tuple[Provider, ...], threads: int, allow_fallback: bool, feeds: Feeds
) -> None:
    """Run once, with every check, so that nothing goes wrong between the clocks."""
    with open_session(
        path, providers=row, threads=threads, allow_fallback=allow_fallback
    ) as session:
        try:
            session.check(feeds)
        except UsageError as error:
            raise UsageError(
                f"{safe(str(path))} does not take the inputs of the first model",
                cause=error.message,
                hint="time models of the same inputs together",
                code="other-inputs",
            ) from None
        session.run(feeds)


def _framework(source: str, threads: int, feeds: Feeds) -> bench.Candidate:
    from modelkit.convert import Options, open_source

    try:
        opened = open_source(source, threads=threads)
    except UsageError as error:
        if error.code != "input-shape":
            raise
        shapes = tuple(
            f"{name}:{','.join(map(str, value.shape))}:{value.dtype}"
            for name, value in feeds.items()
        )
        opened = open_source(source, options=Options(threads=threads, input_shape=shapes))
    run = opened.reference
    if run is None:
        raise UsageError("--against is an ONNX file", hint="name it among the models instead")
    missing = [spec.name for spec in opened.inputs if spec.name not in feeds]
    if missing:
        raise UsageError(
            f"{safe(source)} wants an input '{safe(missing[0])}', the first model has none",
            hint="--against is for the source that the models were converted from",
            code="other-inputs",
        )
    framework: Run = run
    framework(feeds)

    @contextmanager
    def reference() -> Iterator[Run]:
        yield framework

    return bench.Candidate(opened.framework, reference)


def _on_cpu(row: Row) -> bool:
    return row[1] in (CPU.name, _EAGER)


def _row(
    row: Row, samples: bench.Samples, base: bench.Samples, peak: float, wall: bool
) -> BenchRow:
    times = samples.all_wall() * 1000
    p90, p95, p99 = (float(np.percentile(times, q)) for q in (90, 95, 99))
    return BenchRow(
        name=row[0].name,
        provider=row[1],
        bytes=row[2],
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
    )


def _with_quality(
    figures: list[BenchRow], rows: list[Row], model: Path, data: Path
) -> list[BenchRow]:
    """The rows, each with its first output compared with the first row's on real inputs."""
    with open_session(model) as session:
        inputs = list(read_data(data, session.inputs, tokenizer_folder=model.parent))
    with _runner(rows[0]) as reference:
        # Kept, so that two models need not be in memory together.
        expected = [reference(feeds) for feeds in inputs]
    found = [figures[0]]
    for figure, row in zip(figures[1:], rows[1:], strict=True):
        with _runner(row) as run:
            seen = quality(expected, run, inputs)
        found.append(replace(figure, quality=seen))
    return found


@contextmanager
def _runner(row: Row) -> Iterator[Run]:
    candidate, _, _, path = row
    if path is None:
        with candidate.open() as run:
            yield run
        return
    with open_session(path) as session:
        yield session.run


def _peaks(rows: list[Row], feeds: Feeds) -> list[float]:
    """MB that opening and running each model takes; 0 for a framework, and on a card."""
    places = {row[3] for row in rows if row[3] is not None and _on_cpu(row)}
    found = {place: peak_of(place, feeds) / 1e6 for place in places}
    return [found.get(row[3], 0.0) if row[3] and _on_cpu(row) else 0.0 for row in rows]


def _missing(name: str, provider: str, size: int, error: ModelkitError) -> BenchRow:
    nothing = Interval(0, 0, 0)
    return BenchRow(name, provider, size, 0, 0, 0, 0, 0, nothing, 0, 0, 0, 0, error=error.message)


def _notes(timed: list[bench.Samples], rows: list[Row], wall: bool) -> Iterator[str]:
    for samples, (candidate, *_) in zip(timed, rows, strict=True):
        name, times = safe(candidate.name), samples.all_wall()
        low, middle, high = np.percentile(times, (25, 50, 75))
        if high - low > _NOISY * middle:
            yield (
                f"{name}: noisy, half of the runs differ by {(high - low) / middle:.0%};"
                " trust the interval, not one figure"
            )
        waited = 1 - float(samples.all_cpu().sum() / times.sum())
        if not wall and waited > 1 - 1 / _BUSY:
            yield f"{name}: the machine was busy, runs waited {waited:.0%} of their time for a core"
    kind = "wall" if wall else "CPU"
    yield f"speed-ups compare {kind} time; p95 and median are wall time"
    if not all(map(_on_cpu, rows)):
        yield "times of other providers include copying inputs and outputs"


def _size(path: Path) -> int:
    weights = (".safetensors", ".bin", ".pt", ".pth", ".pt2", ".h5", ".keras", ".pb")
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.suffix in weights)
    return path.stat().st_size if path.is_file() else 0


def machine_name() -> str:
    """Processor and cores, as a table's title."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores"


def _check_numbers(given: dict[str, float]) -> None:
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
    figures: list[BenchRow], limit: float, speeds: list[tuple[str, float]] | None
) -> None:
    least = 1 / (1 + limit)
    if speeds is not None:
        slow = [f"{safe(n)} is {s:.2f}x the speed of its baseline" for n, s in speeds if s < least]
        cause = f"more than {limit:.0%} slower than the kept figure"
    else:
        first, last = figures[0], figures[-1]
        text = f"{safe(last.name)} is {last.speedup.median:.2f}x the speed of {safe(first.name)}"
        slow = [text] if last.speedup.high < least else []
        cause = f"more than {limit:.0%} slower, the whole 95 % interval"
    if slow:
        raise CheckFailed("; ".join(slow), cause=cause, code="slower")


def _check_place(path: Path) -> None:
    """Refuse to replace anything but kept figures, before minutes are spent on measuring."""
    shown = safe(str(path))
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise CannotWrite(f"cannot write {shown}", cause="it is a folder, or its folder is missing")
    if path.exists():
        try:
            _kept(path)
        except BadInput:
            raise CannotWrite(
                f"{shown} exists and holds no figures of `modelkit bench`",
                hint="choose another name for --save",
            ) from None


def _save(report: BenchReport, path: Path) -> None:
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


def _kept(path: Path) -> BenchReport:
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


def _against_kept(report: BenchReport, kept: BenchReport, wall: bool) -> list[tuple[str, float]]:
    """Each row that was kept too, with the kept time over its own."""
    for what in ("machine", "runtime", "threads", "shapes"):
        there, here = getattr(kept, what), getattr(report, what)
        if there != here:
            raise UsageError(
                f"the kept figures differ in {what}",
                cause=f"kept: {safe(str(there))}; here: {safe(str(here))}",
                hint="measure the baseline here and with the same options, with --save",
                code="other-baseline",
            )
    before = {(row.name, row.provider): _time(row, wall) for row in kept.rows if not row.error}
    return [
        (row.name, before[row.name, row.provider] / _time(row, wall))
        for row in report.rows
        if (row.name, row.provider) in before and not row.error
    ]


def _time(row: BenchRow, wall: bool) -> float:
    return row.median_ms if wall else row.cpu_ms
