"""Hold the measuring itself to account: A against A, and what the loop adds to a run.

python -m tests.benchmarks.measuring [RUNS]
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from modelkit.runtime.bench import Candidate, interleave, onnx_candidate, ratio
from modelkit.runtime.session import Run, Setup
from tests.models import linear_text, model_file

_RUNS = 20
_LOOPS = 20_000


def same_against_same(path: Path, feeds: dict[str, np.ndarray], runs: int) -> None:
    """How often the interval of one model against itself covers 1.00, and how wide it is."""
    covered, widths = 0, []
    for run in range(runs):
        pair = [onnx_candidate(path, name=name) for name in "ab"]
        a, b = interleave(pair, feeds, seconds=1.0, seed=run)
        found = ratio(a, b)
        covered += found.low <= 1 <= found.high
        widths.append(found.high - found.low)
    print(f"A/A: {covered} of {runs} intervals cover 1.00, median width {np.median(widths):.3f}")


def loop_overhead(path: Path, feeds: dict[str, np.ndarray]) -> None:
    """Microseconds a run that ``interleave`` adds to ``session.run``: its loop, and its call."""

    @contextmanager
    def nothing() -> Iterator[Run]:
        yield lambda feeds: {}

    loops, calls, bare = [], [], []
    for _ in range(7):
        few, many = (_loop(Candidate("", nothing), feeds, runs) for runs in (400, _LOOPS))
        loops.append((many - few) / (_LOOPS - 400))
        with onnx_candidate(path).open() as run, Setup().open(path) as session:
            raw, names = session.raw, [port.name for port in session.outputs]
            calls.append(_each(run, feeds))
            bare.append(_each(raw.run, names, feeds))
    total = min(loops) + min(calls) - min(bare)
    print(
        f"loop: {total * 1e6:.2f} µs a run above bare session.run ({min(bare) * 1e6:.2f} µs);"
        " goal 2 µs"
    )


def _loop(candidate: Candidate, feeds: dict[str, np.ndarray], runs: int) -> float:
    start = time.process_time()
    interleave([candidate], feeds, seconds=600, runs=runs, pairs=4, warmup=1)
    return time.process_time() - start


def _each(call: Callable[..., object], *arguments: object) -> float:
    start = time.process_time()
    for _ in range(_LOOPS):
        call(*arguments)
    return (time.process_time() - start) / _LOOPS


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else _RUNS
    with tempfile.TemporaryDirectory() as name:
        tiny = model_file(Path(name) / "tiny.onnx", linear_text(4, 4))
        loop_overhead(tiny, {"x": np.ones((1, 4), np.float32)})
        wide = model_file(Path(name) / "wide.onnx", linear_text(512, 2048))
        same_against_same(wide, {"x": np.ones((64, 512), np.float32)}, runs)


if __name__ == "__main__":
    main()
