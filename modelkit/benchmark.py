"""``bench``: time models, and the framework they came from, in one interleaved run."""

import json
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
from modelkit.errors import BadInput, CannotWrite, CheckFailed, ModelkitError, UsageError
from modelkit.model import facts, load
from modelkit.reports import BenchReport, BenchRow, Interval
from modelkit.runtime.bench import Candidate, Samples, interleave, onnx_candidate, ratio
from modelkit.runtime.feeds import typical_feeds
from modelkit.runtime.peak import peak_of
from modelkit.runtime.preprocess import read_data
from modelkit.runtime.providers import label, parse
from modelkit.runtime.session import Feeds, Run, open_session, version
from modelkit.safe import safe

_SECONDS = 5.0
_NOISY = 0.25


def bench_files(
    models: list[str],
    *,
    against: str | None = None,
    providers: str = "cpu",
    dims: dict[str, int] | None = None,
    runs: int = 0,
    duration: float = 0.0,
    threads: int = 1,
    allow_fallback: bool = False,
    save: str | None = None,
    baseline: str | None = None,
    fail_if_slower: str | None = None,
    eval_data: str | None = None,
    seed: int = 0,
) -> BenchReport:
    """Time each model on each row of providers; the first row is the baseline of the speed-ups.

    ``duration`` is seconds per row (default 5); ``runs`` a number of runs instead; ``dims`` fixes
    axes (default: batch 1 and sequence 128 where axes have these names); ``eval_data`` are real
    inputs on which the rows are compared with the first.

    Raises:
        CheckFailed: the last row is slower than ``fail_if_slower`` (as "5%") allows.
        UsageError: the models take different inputs, or ``baseline`` is of another machine.
    """
    limit = _percent(fail_if_slower)
    paths = [Path(model) for model in models]
    progress.step("choosing inputs")
    feeds = typical_feeds(paths[0], dims=dims, seed=seed)
    rows, failed = _rows(paths, against, providers, threads, allow_fallback, feeds)
    progress.step("timing")
    timed = interleave([row[0] for row in rows], feeds, seconds=duration or _SECONDS, runs=runs)
    figures = [
        _row(candidate.name, provider, size, samples, timed[0], peak)
        for (candidate, provider, size, _), samples, peak in zip(
            rows, timed, _peaks(rows, feeds), strict=True
        )
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
        tuple(_notes(timed, rows)),
    )
    if baseline is not None:
        report = _with_baseline(report, Path(baseline))
    if save is not None:
        _save(report, Path(save))
    if limit is not None and figures[-1].speedup.high < 1 / (1 + limit):
        raise CheckFailed(
            f"{safe(figures[-1].name)} is {figures[-1].speedup.median:.2f}x the speed of"
            f" {safe(figures[0].name)}",
            cause=f"more than {limit:.0%} slower, the whole 95 % interval",
            code="slower",
        )
    return report


Row = tuple[Candidate, str, int, Path | None]


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
        rows.append((_framework(against, threads), "eager", _size(Path(against)), None))
    for path in paths:
        size = facts(load(path), path).bytes
        for row in parse(providers):
            try:
                with open_session(path, providers=row, allow_fallback=allow_fallback) as session:
                    session.check(feeds)
            except ModelkitError as error:
                if error.code != "provider-missing":
                    raise
                failed.append(_missing(path.name, label(row), size, error))
                continue
            candidate = onnx_candidate(
                path, providers=row, threads=threads, allow_fallback=allow_fallback
            )
            rows.append((candidate, label(row), size, path))
    if not rows:
        raise ModelkitError("no row could be run", cause=failed[0].error)
    return rows, failed


def _framework(source: str, threads: int) -> Candidate:
    from modelkit.convert import open_source

    opened = open_source(source, threads=threads)
    run = opened.reference
    if run is None:
        raise UsageError("--against is an ONNX file", hint="name it among the models instead")
    framework: Run = run

    @contextmanager
    def reference() -> Iterator[Run]:
        yield framework

    return Candidate(opened.framework, reference)


def _row(
    name: str, provider: str, size: int, samples: Samples, base: Samples, peak: float
) -> BenchRow:
    wall = samples.all_wall() * 1000
    p90, p95, p99 = (float(np.percentile(wall, q)) for q in (90, 95, 99))
    return BenchRow(
        name=name,
        provider=provider,
        bytes=size,
        median_ms=float(np.median(wall)),
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        cpu_ms=float(np.median(samples.all_cpu())) * 1000,
        speedup=Interval(1, 1, 1) if samples is base else ratio(base, samples),
        runs=int(wall.size),
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
    """Memory in MB that opening and running each model file takes; 0 for a framework."""
    return [peak_of(place, feeds) / 1e6 if place else 0.0 for _, _, _, place in rows]


def _missing(name: str, provider: str, size: int, error: ModelkitError) -> BenchRow:
    nothing = Interval(0, 0, 0)
    return BenchRow(name, provider, size, 0, 0, 0, 0, 0, nothing, 0, 0, 0, 0, error=error.message)


def _notes(timed: list[Samples], rows: list[Row]) -> Iterator[str]:
    for samples, (candidate, *_) in zip(timed, rows, strict=True):
        wall = samples.all_wall()
        low, middle, high = np.percentile(wall, (25, 50, 75))
        if (high - low) / middle > _NOISY:
            yield (
                f"{safe(candidate.name)}: noisy, half of the runs differ by"
                f" {(high - low) / middle:.0%}; trust the interval, not one figure"
            )
    yield "speed-ups compare CPU time; p95 and median are wall time"


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


def _percent(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text.removesuffix("%")) / 100
    except ValueError:
        raise UsageError(
            f"--fail-if-slower {safe(text)} is no percentage", hint="write it as 5%"
        ) from None


def _save(report: BenchReport, path: Path) -> None:
    try:
        path.write_text(json.dumps(reports.to_json(report), indent=1) + "\n")
    except OSError as error:
        raise CannotWrite(f"cannot write {safe(str(path))}", cause=str(error)) from None


def _with_baseline(report: BenchReport, path: Path) -> BenchReport:
    """The report with one note a row: its time against the kept one."""
    try:
        kept: Any = reports.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{safe(str(path))} holds no kept figures", cause=str(error)) from None
    if (kept.machine, kept.runtime, kept.threads) != (
        report.machine,
        report.runtime,
        report.threads,
    ):
        raise UsageError(
            "the kept figures are of another machine, runtime or thread count",
            cause=f"{safe(kept.machine)}, {safe(kept.runtime)}, {kept.threads} threads",
            hint="measure the baseline here, with --save",
        )
    before = {(row.name, row.provider): row for row in kept.rows}
    notes = [
        f"{safe(row.name)}: {before[row.name, row.provider].cpu_ms / row.cpu_ms:.2f}x its baseline"
        for row in report.rows
        if (row.name, row.provider) in before and row.cpu_ms
    ]
    fields = {**vars(report), "notes": (*report.notes, *notes)}
    return BenchReport(**fields)
