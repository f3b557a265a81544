"""Let contenders optimize a model of the zoo, judge what they wrote, and race it."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

from tests.benchmarks.optimizer import judge, race
from tests.benchmarks.optimizer.contenders import REFERENCE, ROOT, Contender, optimize
from tests.benchmarks.optimizer.process import Cost, measured
from tests.benchmarks.optimizer.results import EXPORTS, Row
from tests.benchmarks.optimizer.zoo import Exhibit

OURS = "modelkit-all"
_OPTIMIZE_SECONDS = 600
_JUDGE_SECONDS = 600


@dataclass(frozen=True)
class Course:
    """How a model is measured: by whom, where files lie, and seconds of each one's race (0: none)."""

    contenders: Sequence[Contender]
    build: Path
    seconds: float
    threads: int = 1


def rows_of(exhibits: Sequence[Exhibit], course: Course) -> list[Row]:
    """All rows of one model, given by each of its exporters."""
    found: list[Row] = []
    with _folder(course.build / "optimized") as folder:
        ours: dict[str, tuple[Row, Path]] = {}
        for shown in exhibits:
            print(shown.name, shown.error, file=sys.stderr, flush=True)
            rows, files = _of_exhibit(shown, course, folder / shown.exporter)
            found += rows
            last = next((row for row in rows if row.contender == OURS and not row.failure), None)
            if last:
                ours[shown.exporter] = (last, files[OURS])
        if course.seconds and {"dynamo", "torchscript"} <= set(ours):
            found.append(_exports_raced(exhibits[0], ours, course))
    return found


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """An empty folder, gone afterwards: what contenders write adds up to many gigabytes."""
    rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        rmtree(path, ignore_errors=True)


def _of_exhibit(shown: Exhibit, course: Course, folder: Path) -> tuple[list[Row], dict[str, Path]]:
    if shown.error:
        return [Row(shown.name, "export", failure=shown.error)], {}
    folder.mkdir()
    rows = [Row(shown.name, "original", operators=dict(judge.operators(shown.path)), error=0.0)]
    files = {each.name: folder / f"{each.name}.onnx" for each in course.contenders}
    for contender in course.contenders:
        rows.append(_optimized(shown, contender, files[contender.name], course))
        _say(rows[-1])
    return (_raced(rows, shown, files, course) if course.seconds else rows), files


def _say(row: Row) -> None:
    error = "" if row.error is None else f"error {row.error:.1e}"
    result = row.failure or f"{row.nodes} nodes, {error}"
    cost = f"{row.cpu_seconds:.1f} CPU s, {row.peak_mb:.0f} MB"
    print(f"  {row.contender}: {result}, {cost}", file=sys.stderr, flush=True)


def _child(module: str, arguments: Sequence[object], seconds: float) -> Cost:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return measured(command, seconds=seconds, folder=ROOT, environment={"PYTHONPATH": str(ROOT)})


def _optimized(shown: Exhibit, contender: Contender, target: Path, course: Course) -> Row:
    """Let one contender optimize one model into ``target``, and judge what it wrote."""
    cost = optimize(
        contender,
        shown.model,
        shown.path,
        target,
        course.build,
        seconds=_OPTIMIZE_SECONDS,
        threads=course.threads,
    )
    row = Row(
        shown.name,
        contender.name,
        failure=cost.failure,
        cpu_seconds=cost.cpu_seconds,
        peak_mb=cost.peak_mb,
    )
    if cost.failure:
        return row
    verdict = _child(judge.__name__, [shown.path, target, *shown.feeds], _JUDGE_SECONDS)
    if verdict.failure:
        return replace(row, failure=f"running it: {verdict.failure}")
    return replace(row, **json.loads(verdict.output))


def _race(
    reference: Path, models: Sequence[Path], feeds: Path, course: Course
) -> tuple[float, list[tuple[float, float, float]]] | str:
    """What :func:`race.race` gives, or why it gave nothing."""
    limit = 600 + 40 * course.seconds * (len(models) + 1)
    arguments = [course.seconds, course.threads, feeds, reference, *models]
    done = _child(race.__name__, arguments, limit)
    if done.failure:
        return f"race: {done.failure}"
    found = json.loads(done.output)
    return found["milliseconds"], [(a, b, c) for a, b, c in found["ratios"]]


def _raced(rows: list[Row], shown: Exhibit, files: dict[str, Path], course: Course) -> list[Row]:
    """The rows with latencies; all sound contenders and the original run side by side."""
    able = [
        row
        for row in rows
        if row.contender in files and not row.failure and row.contender != REFERENCE
    ]
    if not able:
        return rows
    models = [files[row.contender] for row in able]
    found = _race(shown.path, models, shown.feeds[0], course)
    if isinstance(found, str):
        return [replace(row, failure=found) if row in able else row for row in rows]
    milliseconds, ratios = found
    by_name = {row.contender: ratio for row, ratio in zip(able, ratios, strict=True)}
    by_name[REFERENCE] = (1.0, 1.0, 1.0)
    return [
        replace(row, latency=by_name.get(row.contender), milliseconds=milliseconds) for row in rows
    ]


def _exports_raced(shown: Exhibit, ours: dict[str, tuple[Row, Path]], course: Course) -> Row:
    """How our two results for one model compare: the exporter should not matter any more."""
    (_, reference), (row, model) = ours["dynamo"], ours["torchscript"]
    found = _race(reference, [model], shown.feeds[0], course)
    if isinstance(found, str):
        return Row(row.exhibit, EXPORTS, failure=found)
    milliseconds, [ratio] = found
    return Row(row.exhibit, EXPORTS, latency=ratio, milliseconds=milliseconds)
