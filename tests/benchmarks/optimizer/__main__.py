"""Run modelkit and its peers on the zoo, and print the tables.

python -m tests.benchmarks.optimizer [--models a,b] [--exporters a,b] [--contenders a,b]
    [--quick] [--full] [--seconds S] [--build FOLDER]

Rows go into optimizer.json and optimizer.md in the build folder; a run that covers a part
replaces the rows of that part.  Nothing is left out: what fails is a row with its error.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.optimizer import judge, race
from tests.benchmarks.optimizer.contenders import (
    CONTENDERS,
    REFERENCE,
    ROOT,
    Contender,
    optimize,
)
from tests.benchmarks.optimizer.process import Cost, measured
from tests.benchmarks.optimizer.results import Row, merged, read, write
from tests.benchmarks.optimizer.tables import markdown
from tests.benchmarks.optimizer.zoo import Exhibit, exhibit, recipes_of

_OPTIMIZE_SECONDS = 600
_JUDGE_SECONDS = 600
_EXPORTERS = ("dynamo", "torchscript", "tf2onnx")


def _child(module: str, arguments: Sequence[object], seconds: float) -> Cost:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return measured(command, seconds=seconds, folder=ROOT, environment={"PYTHONPATH": str(ROOT)})


def optimized(shown: Exhibit, contender: Contender, build: Path) -> tuple[Row, Path]:
    """Let one contender optimize one model, and judge what it wrote; gives that file too."""
    folder = build / "optimized" / shown.name
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{contender.name}.onnx"
    cost = optimize(contender, shown.model, shown.path, target, build, seconds=_OPTIMIZE_SECONDS)
    row = Row(
        shown.name,
        contender.name,
        failure=cost.failure,
        cpu_seconds=cost.cpu_seconds,
        peak_mb=cost.peak_mb,
    )
    if cost.failure:
        return row, target
    verdict = _child(judge.__name__, [shown.path, target, *shown.feeds], _JUDGE_SECONDS)
    if verdict.failure:
        return replace(row, failure=f"running it: {verdict.failure}"), target
    return replace(row, **json.loads(verdict.output)), target


def original(shown: Exhibit) -> Row:
    """The row of the untouched model."""
    return Row(shown.name, "original", operators=dict(judge.operators(shown.path)), error=0.0)


def raced(rows: list[Row], shown: Exhibit, files: dict[str, Path], seconds: float) -> list[Row]:
    """The rows with latencies; all sound contenders and the original run side by side."""
    able = [row for row in rows if row.contender in files and row.error is not None]
    able = [row for row in able if not row.failure and row.contender != REFERENCE]
    models = [files[row.contender] for row in able]
    limit = 600 + 40 * seconds * (len(models) + 1)
    done = _child(race.__name__, [seconds, shown.feeds[0], shown.path, *models], limit)
    if done.failure:
        print(f"  race: {done.failure}", file=sys.stderr)
        return [
            replace(row, failure=f"race: {done.failure}") if row in able else row for row in rows
        ]
    found = json.loads(done.output)
    latency = {
        row.contender: tuple(ratio) for row, ratio in zip(able, found["ratios"], strict=True)
    }
    return [
        replace(row, latency=latency.get(row.contender), milliseconds=found["milliseconds"])
        for row in rows
    ]


def run_one(
    shown: Exhibit, contenders: Sequence[Contender], build: Path, *, seconds: float
) -> list[Row]:
    """All rows of one exported model."""
    if shown.error:
        return [Row(shown.name, "export", failure=shown.error)]
    rows, files = [original(shown)], {}
    for contender in contenders:
        row, files[contender.name] = optimized(shown, contender, build)
        rows.append(row)
        error = "" if row.error is None else f"error {row.error:.1e}"
        print(
            f"  {row.contender}: {row.failure or f'{row.nodes} nodes, {error}'},"
            f" {row.cpu_seconds:.1f} CPU s, {row.peak_mb:.0f} MB",
            file=sys.stderr,
            flush=True,
        )
    if seconds:
        rows = raced(rows, shown, files, seconds)
    for path in (build / "optimized" / shown.name).iterdir():
        path.unlink()
    return rows


def machine() -> dict[str, str]:
    """What the figures depend on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT
    )
    names = ("onnxruntime", "onnx", "onnx-ir", "torch", "transformers")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "modelkit": commit.stdout.strip() or "not in git",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in names),
    }


def _chosen(text: str, known: Sequence[str]) -> list[str]:
    names = [name for name in text.split(",") if name] or list(known)
    for name in names:
        if name not in known:
            sys.exit(f"'{name}' is not known; there are: {', '.join(known)}")
    return names


def main() -> None:
    """Measure what the options name, then print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.optimizer")
    parser.add_argument("--models", default="", help="names, separated by commas; default: all")
    parser.add_argument("--exporters", default="", help="dynamo, torchscript, tf2onnx")
    parser.add_argument("--contenders", default="", help="names; default: all")
    parser.add_argument("--quick", action="store_true", help="nodes, errors and cost; no latency")
    parser.add_argument("--full", action="store_true", help="real depth instead of a few layers")
    parser.add_argument("--seconds", type=float, default=3.0, help="timed per contender and model")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench-optimizer")
    given = parser.parse_args()
    recipes = {recipe.name: recipe for recipe in recipes_of(given.full)}
    models = _chosen(given.models, list(recipes))
    exporters = _chosen(given.exporters, _EXPORTERS)
    names = _chosen(given.contenders, [each.name for each in CONTENDERS])
    contenders = [each for each in CONTENDERS if each.name in names]
    kept = given.build / ("optimizer-full.json" if given.full else "optimizer.json")
    seconds = 0 if given.quick else given.seconds
    rows = read(kept)
    for model in models:
        for exporter in recipes[model].exporters:
            if exporter not in exporters:
                continue
            shown = exhibit(recipes[model], exporter, given.build, full=given.full)
            print(shown.name, shown.error, file=sys.stderr, flush=True)
            rows = merged(rows, run_one(shown, contenders, given.build, seconds=seconds))
            order = [f"{name}.{each}" for name in recipes for each in _EXPORTERS]
            rows.sort(key=lambda row: order.index(row.exhibit))
            write(kept, rows, machine())
    report = markdown(rows, machine())
    kept.with_suffix(".md").write_text(report)
    print(report)


if __name__ == "__main__":
    main()
