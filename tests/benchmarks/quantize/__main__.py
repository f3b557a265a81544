"""Quantize the subjects with modelkit and its peers, judge and race them, print the tables.

python -m tests.benchmarks.quantize [--subjects a,b] [--contenders a,b] [--seconds S]
    [--build FOLDER]

Subjects are made once and kept in the build folder; so are rows, in quantize.json and quantize.md.
A quantizer that fails is a row with its error.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree

from tests.benchmarks.optimizer.__main__ import chosen, machine
from tests.benchmarks.optimizer.contenders import ROOT
from tests.benchmarks.optimizer.process import last_error, measured
from tests.benchmarks.quantize.contenders import CONTENDERS, Contender
from tests.benchmarks.quantize.results import Row, markdown, merged, read
from tests.benchmarks.quantize.subjects import SUBJECTS, Subject
from tests.benchmarks.rows import write

_LIMIT = 1800.0


def prepared(subject: Subject, build: Path) -> Path:
    """The folder of a subject, made if it is not there.

    Raises:
        SystemExit: making it failed.
    """
    folder = build / subject.name
    if not (folder / "made.json").is_file():
        print(f"making {subject.name}", file=sys.stderr, flush=True)
        command = _python("subjects", subject.name, str(folder))
        cost = measured(command, seconds=_LIMIT, folder=ROOT, environment={})
        if cost.failure:
            sys.exit(f"{subject.name} cannot be made: {cost.failure}")
    return folder


def rows_of(
    subject: Subject, folder: Path, contenders: Sequence[Contender], seconds: float
) -> list[Row]:
    """All contenders on one subject; those that give a model are raced together."""
    made = folder.parent / "made"
    rmtree(made, ignore_errors=True)
    made.mkdir()
    rows, models = [], {}
    for contender in contenders:
        output = made / f"{contender.name}.onnx"
        row = _row(subject, contender, folder, output)
        print(f"{subject.name} {contender.name} {row.failure}", file=sys.stderr, flush=True)
        rows.append(row)
        if not row.failure:
            models[contender.name] = output
    if seconds and models:
        rows = _raced(rows, models, folder, seconds)
    rmtree(made)
    return rows


def _row(subject: Subject, contender: Contender, folder: Path, output: Path) -> Row:
    where = {"folder": output.parent, "environment": {"PYTHONPATH": str(ROOT)}}
    command = _python("contenders", contender.name, str(folder.resolve()), str(output.resolve()))
    cost = measured(command, seconds=_LIMIT, **where)  # type: ignore[arg-type]
    if cost.failure:
        return Row(subject.name, contender.name, cost.failure, cpu_seconds=cost.cpu_seconds)
    command = _python("judge", str(folder.resolve()), str(output.resolve()))
    verdict = measured(command, seconds=_LIMIT, **where)  # type: ignore[arg-type]
    if verdict.failure:
        text = f"does not run: {last_error(verdict.failure)}"
        return Row(subject.name, contender.name, text, cpu_seconds=cost.cpu_seconds)
    figures = json.loads(verdict.output.splitlines()[-1])
    if subject.judged == "speed":  # random weights: no figure but size and time means anything
        figures |= {"agreement": None, "top10": None}
    return Row(subject.name, contender.name, cpu_seconds=cost.cpu_seconds, **figures)


def _raced(rows: list[Row], models: dict[str, Path], folder: Path, seconds: float) -> list[Row]:
    feeds = next((folder / "speed").glob("*.npz"))
    command = [sys.executable, "-m", "tests.benchmarks.optimizer.race", str(seconds), "1"]
    command += [str(feeds), str(folder / "model.onnx"), *(str(path) for path in models.values())]
    cost = measured(command, seconds=_LIMIT, folder=ROOT, environment={})
    if cost.failure:
        print(f"no race: {cost.failure}", file=sys.stderr)
        return rows
    ratios = json.loads(cost.output.splitlines()[-1])["ratios"]
    by_name = dict(zip(models, ratios, strict=True))
    return [
        Row(**{**vars(row), "ratio": tuple(by_name[row.contender])})
        if row.contender in by_name
        else row
        for row in rows
    ]


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"tests.benchmarks.quantize.{module}", *arguments]


def main() -> None:
    """Measure what the options name, then print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.quantize")
    parser.add_argument("--subjects", default="", help="names, separated by commas; default: all")
    parser.add_argument("--contenders", default="", help="names; default: all")
    parser.add_argument("--seconds", type=float, default=2.0, help="timed per model; 0: no race")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench-quantize")
    given = parser.parse_args()
    subjects = chosen(given.subjects, [each.name for each in SUBJECTS])
    names = chosen(given.contenders, [each.name for each in CONTENDERS])
    contenders = [each for each in CONTENDERS if each.name in names]
    kept = given.build / "quantize.json"
    for subject in SUBJECTS:
        if subject.name in subjects:
            folder = prepared(subject, given.build)
            rows = rows_of(subject, folder, contenders, given.seconds)
            write(kept, merged(read(kept), rows), machine())
    report = markdown(read(kept), machine())
    kept.with_suffix(".md").write_text(report)
    print(report)


if __name__ == "__main__":
    main()
