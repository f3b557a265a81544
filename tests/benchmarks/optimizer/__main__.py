"""Run modelkit and its peers on the zoo, and print the tables.

python -m tests.benchmarks.optimizer [--models a,b] [--exporters a,b] [--contenders a,b]
    [--quick] [--full] [--seconds S] [--threads N] [--build FOLDER]

Rows go into optimizer.json and optimizer.md in the build folder; a run that covers a part
replaces the rows of that part.  Nothing is left out: what fails is a row with its error.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.optimizer.contenders import CONTENDERS, ROOT
from tests.benchmarks.optimizer.results import merged, read
from tests.benchmarks.optimizer.running import Course, rows_of
from tests.benchmarks.optimizer.tables import markdown
from tests.benchmarks.optimizer.zoo import exhibit, recipes_of
from tests.benchmarks.rows import write

_EXPORTERS = ("dynamo", "torchscript", "tf2onnx", "published")


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


def chosen(text: str, known: Sequence[str]) -> list[str]:
    """The names in ``text``, separated by commas; all that are ``known`` if there is none."""
    names = [name for name in text.split(",") if name] or list(known)
    for name in names:
        if name not in known:
            sys.exit(f"'{name}' is not known; there are: {', '.join(known)}")
    return names


def _title(full: bool, threads: int) -> str:
    return f"optimizer{'-full' * full}{f'-{threads}-threads' * (threads != 1)}"


def main() -> None:
    """Measure what the options name, then print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.optimizer")
    parser.add_argument("--models", default="", help="names, separated by commas; default: all")
    parser.add_argument("--exporters", default="", help="names; default: all")
    parser.add_argument("--contenders", default="", help="names; default: all")
    parser.add_argument("--quick", action="store_true", help="nodes, errors and cost; no latency")
    parser.add_argument("--full", action="store_true", help="real depth instead of a few layers")
    parser.add_argument("--seconds", type=float, default=3.0, help="timed per contender and model")
    parser.add_argument("--threads", type=int, default=1, help="of each run; wall time above 1")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench-optimizer")
    given = parser.parse_args()
    recipes = {recipe.name: recipe for recipe in recipes_of(given.full)}
    models = chosen(given.models, list(recipes))
    exporters = chosen(given.exporters, _EXPORTERS)
    names = chosen(given.contenders, [each.name for each in CONTENDERS])
    contenders = [each for each in CONTENDERS if each.name in names]
    kept = given.build / f"{_title(given.full, given.threads)}.json"
    course = Course(contenders, given.build, 0 if given.quick else given.seconds, given.threads)
    order = [f"{name}.{each}" for name in recipes for each in _EXPORTERS]
    rows = read(kept)
    for model in models:
        wanted = [each for each in recipes[model].exporters if each in exporters]
        exhibits = [exhibit(recipes[model], each, given.build, full=given.full) for each in wanted]
        rows = merged(rows, rows_of(exhibits, course))
        rows.sort(key=lambda row: order.index(row.exhibit))
        write(kept, rows, machine())
    report = markdown(rows, machine(), threads=given.threads)
    kept.with_suffix(".md").write_text(report)
    print(report)


if __name__ == "__main__":
    main()
