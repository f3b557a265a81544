"""Half-precision converters on the lab's 38 graphs, and on models given as arguments.

    python -m tests.benchmarks.precision [--only NAME] [MODEL.onnx ...]

Each result must pass onnx's full checker, open in ONNX Runtime, keep the types of inputs and
outputs, and be right twice: on the CPU provider, and in simulated half arithmetic, which is what a
GPU computes.  A peer that is not installed is left out.  Each converter runs in a process of its
own, because results that are not legal kill native code.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from modelkit.errors import ModelkitError
from modelkit.model import load, save
from modelkit.precision import fp16
from modelkit.precision.data import read
from modelkit.precision.options import Options
from modelkit.precision.simulate import simulated_file
from modelkit.runtime import metrics
from tests.models import Feeds, run
from tests.precision import lab_cases

GOAL = 50.0
VERDICTS = ("right", "wrong in half", "wrong on the CPU", "other types", "does not open",
            "not legal", "fails")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One converter on one graph."""

    case: str
    verdict: str
    detail: str = ""
    decibels: float = 0.0
    size: float = 0.0
    seconds: float = 0.0


def ours(source: Path, target: Path, feeds: Feeds) -> None:
    """modelkit, with the inputs at hand as samples."""
    result, _, _ = fp16(load(source), samples=[feeds])
    save(result, target, force=True)


def onnxconverter_common(source: Path, target: Path, feeds: Feeds) -> None:
    """What tf2onnx, skl2onnx and most tutorials use."""
    from onnxconverter_common import float16

    onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def auto_mixed(source: Path, target: Path, feeds: Feeds) -> None:
    """Its search for nodes that must keep float, judged by the CPU provider."""
    from onnxconverter_common import auto_mixed_precision

    found = auto_mixed_precision.auto_convert_mixed_precision(
        onnx.load(source), feeds, rtol=0.01, atol=0.001, keep_io_types=True
    )
    onnx.save(found, target)


def onnxruntime_transformers(source: Path, target: Path, feeds: Feeds) -> None:
    """The one that comes with ONNX Runtime."""
    from onnxruntime.transformers import float16

    onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


CONVERTERS: dict[str, tuple[str, Callable[[Path, Path, Feeds], None]]] = {
    "modelkit": ("modelkit", ours),
    "onnxconverter-common": ("onnxconverter_common", onnxconverter_common),
    "auto_mixed_precision": ("onnxconverter_common", auto_mixed),
    "onnxruntime.transformers": ("onnxruntime.transformers", onnxruntime_transformers),
}
"""Name to the module it needs and what it does."""


def there(module: str) -> bool:
    """Whether ``module`` is installed."""
    return importlib.util.find_spec(module.split(".")[0]) is not None


def judged(name: str, case: str, folder: Path) -> Row:
    """Convert one case by one converter, and look at the result in every way."""
    try:
        source, feeds = _case(case, folder)
    except ModelkitError as error:
        return Row(case, "fails", error.message)
    target = folder / "half.onnx"
    target.unlink(missing_ok=True)
    start = time.process_time()
    try:
        CONVERTERS[name][1](source, target, feeds)
    except Exception as error:  # the verdict is about any failure of foreign code
        return Row(case, "fails", f"{type(error).__name__}: {error}"[:200])
    seconds = time.process_time() - start
    size = target.stat().st_size / source.stat().st_size
    expected = run(source, feeds)
    try:
        actual = run(target, feeds)
    except Exception as error:
        return Row(case, "does not open", str(error)[:200], size=size, seconds=seconds)
    if [value.dtype for value in actual.values()] != [value.dtype for value in expected.values()]:
        return Row(case, "other types", size=size, seconds=seconds)
    on_cpu = worst(expected, actual)
    if not on_cpu >= GOAL:
        return Row(case, "wrong on the CPU", f"{on_cpu:.1f} dB", on_cpu, size, seconds)
    try:
        onnx.checker.check_model(str(target), full_check=True)
    except Exception as error:
        return Row(case, "not legal", str(error)[:200], on_cpu, size, seconds)
    in_half = worst(expected, run(simulated_file(target, folder), feeds))
    (folder / "simulated.onnx").unlink()
    verdict = "right" if in_half >= GOAL else "wrong in half"
    return Row(case, verdict, f"{in_half:.1f} dB", in_half, size, seconds)


def worst(expected: Feeds, actual: Feeds) -> float:
    """Signal over noise of the worst output; -inf where NaN or infinity is new."""
    found = 999.0
    for name, value in expected.items():
        if value.dtype.kind != "f":
            found = min(found, 999.0 if np.array_equal(value, actual[name]) else -999.0)
        elif not np.isfinite(actual[name]).all():
            return -999.0
        else:
            found = min(found, metrics.sqnr(*metrics.energies(value, actual[name])))
    return found


def _case(case: str, folder: Path) -> tuple[Path, Feeds]:
    if case in lab_cases.NAMES:
        proto = lab_cases.proto(case)
        onnx.save(proto, folder / "source.onnx")
        return folder / "source.onnx", lab_cases.feeds(case, proto)
    evidence, _ = read(Path(case), Options())
    return Path(case), evidence.samples[0]


def measured(name: str, cases: list[str]) -> list[Row]:
    """All cases by one converter, in child processes; one that dies costs its case only."""
    rows: list[Row] = []
    while len(rows) < len(cases):
        command = [sys.executable, "-m", "tests.benchmarks.precision", "--child", name]
        command += cases[len(rows) :]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith("ROW "):
                    rows.append(Row(**json.loads(line[4:])))
                    print(f"{name}: {rows[-1].case}: {rows[-1].verdict}", file=sys.stderr)
        if len(rows) < len(cases):
            rows.append(Row(cases[len(rows)], "does not open", f"died ({child.returncode})"))
    return rows


def main(arguments: list[str]) -> None:
    """Measure and print; with ``--child`` one converter, a line a case."""
    if arguments[:1] == ["--child"]:
        warnings.filterwarnings("ignore")
        with tempfile.TemporaryDirectory() as folder:
            for case in arguments[2:]:
                row = judged(arguments[1], case, Path(folder))
                print("ROW " + json.dumps(asdict(row)), flush=True)
        return
    names = [name for name, (module, _) in CONVERTERS.items() if there(module)]
    if arguments[:1] == ["--only"]:
        names, arguments = [arguments[1]], arguments[2:]
    cases = arguments or lab_cases.NAMES
    table = {name: measured(name, cases) for name in names}
    print(f"| {len(cases)} graphs | " + " | ".join(VERDICTS) + " | CPU s |")
    print("|---|" + "--:|" * (len(VERDICTS) + 1))
    for name, rows in table.items():
        counts = Counter(row.verdict for row in rows)
        figures = " | ".join(str(counts[verdict]) for verdict in VERDICTS)
        print(f"| {name} | {figures} | {sum(row.seconds for row in rows):.1f} |")
    print()
    for name, rows in table.items():
        for row in rows:
            if row.verdict != "right" or arguments:
                detail = " ".join(row.detail.split())
                print(f"{name}: {row.case}: {row.verdict}; {detail}; size {row.size:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
