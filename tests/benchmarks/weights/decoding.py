"""A decoder with caches in fewer bits, raced against the model as it was exported.

    python -m tests.benchmarks.weights.decoding [FOLDER] [--json FILE] [--cases decode,long,prefill]

One thread, CPU time, sessions interleaved; the source runs with every optimization of ONNX Runtime.
Shared caches are bound, present to past, as ``modelkit bench`` does.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from modelkit.optimize import optimize_file
from modelkit.optimize.sharing import share_cache_file
from modelkit.quantize import quantize_file
from modelkit.runtime.bench import interleave, onnx_candidate, ratio
from tests.benchmarks.weights.decoder import CASES, feeds, model

_SECONDS = 10.0
GOALS = {
    ("int8", "decode"): 3.0,
    ("int8", "prefill"): 3.2,
    ("int4", "decode"): 4.2,
    ("int8, shared cache", "long"): 3.9,
    ("int4, shared cache", "long"): 3.9,
    ("int8, int8 cache", "long"): 3.9,
}


@dataclass(frozen=True)
class Row:
    """One form of the decoder in one phase: how much faster, with its interval."""

    case: str
    form: str
    size: int
    speed: float
    low: float
    high: float
    goal: float | None


def forms(folder: Path) -> dict[str, Path]:
    """The source and what is made of it, each made once."""
    source = model(folder)

    def made(name: str, make: Callable[[str], object]) -> Path:
        path = folder / f"{name}.onnx"
        if not path.exists():
            make(str(path))
        return path

    def shared(name: str, path: Path) -> Path:
        return made(f"{name}-shared", lambda out: share_cache_file(str(path), out, measure=False))

    rewritten = made("rewritten", lambda out: optimize_file(str(source), out, measure=False))
    small = {
        "int8": made(
            "int8",
            lambda out: quantize_file(str(rewritten), out, mode="dynamic", measure=False),
        ),
        "int4": made(
            "int4",
            lambda out: quantize_file(
                str(rewritten), out, mode="int4", block_size=128, measure=False
            ),
        ),
    }
    found = {"source": source, "rewritten": rewritten, **small}
    for name in ("rewritten", *small):
        found[f"{name}, shared cache"] = shared(name, found[name])
    for name in small:
        found[f"{name}, int8 cache"] = made(
            f"{name}-cache8",
            lambda out, name=name: share_cache_file(  # type: ignore[misc]
                str(found[name]), out, cache_type="int8", measure=False
            ),
        )
    return found


def race(found: dict[str, Path], case: str) -> list[Row]:
    """Every form against the source on one phase."""
    names = [name for name in found if name != "source"]
    runners = [onnx_candidate(found[name], name=name) for name in ("source", *names)]
    times = interleave(runners, feeds(*CASES[case]), seconds=_SECONDS)
    rows = []
    for name, seen in zip(names, times[1:], strict=True):
        faster = ratio(times[0], seen)
        size = found[name].stat().st_size
        goal = GOALS.get((name, case))
        rows.append(Row(case, name, size, faster.median, faster.low, faster.high, goal))
    return rows


def main(arguments: list[str]) -> None:
    """Measure and print."""
    options = {"--json": "", "--cases": ",".join(CASES)}
    for name in options:
        if name in arguments:
            at = arguments.index(name)
            options[name] = arguments[at + 1]
            del arguments[at : at + 2]
    found = forms(Path(arguments[0] if arguments else "build/decoder"))
    print("| phase | batch, tokens, past | form | MB | speed (95 % interval) | goal |")
    print("|---|---|---|--:|--:|--:|")
    rows = []
    for case in options["--cases"].split(","):
        for row in race(found, case):
            goal = "" if row.goal is None else f"{row.goal:.1f}x"
            print(
                f"| {case} | {CASES[case]} | {row.form} | {row.size / 1e6:.1f}"
                f" | {row.speed:.2f}x ({row.low:.2f}-{row.high:.2f}) | {goal} |",
                flush=True,
            )
            rows.append(row)
    if options["--json"]:
        Path(options["--json"]).write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
