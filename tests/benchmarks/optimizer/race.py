"""Latency ratios: ``python -m ...race SECONDS THREADS FEEDS REFERENCE MODEL...`` (JSON).

Prints, for each model, old over new time (above 1: faster than the reference) with its 95 %
interval, and the reference's median milliseconds: CPU time on 1 thread, the wall's on more.
"""

import json
import sys
from pathlib import Path

import numpy as np

from modelkit.runtime.bench import interleave, onnx_candidate, ratio
from modelkit.runtime.session import Setup


def race(
    reference: Path,
    models: list[Path],
    feeds: dict[str, np.ndarray],
    *,
    seconds: float,
    threads: int = 1,
) -> tuple[float, list[tuple[float, float, float]]]:
    """The reference's median milliseconds, and each model's ratio with its interval."""
    setup = Setup(threads=threads, graph_level="all")
    wall = threads != 1
    runners = [onnx_candidate(path, setup=setup) for path in (reference, *models)]
    old, *others = interleave(runners, feeds, seconds=seconds)
    found = [ratio(old, new, wall=wall) for new in others]
    milliseconds = 1e3 * float(np.median(old.all_wall() if wall else old.all_cpu()))
    return milliseconds, [(each.median, each.low, each.high) for each in found]


def main() -> None:
    """Race what the command line names."""
    seconds, threads, feeds, reference, *models = sys.argv[1:]
    with np.load(feeds) as found:
        values = {name: found[name] for name in found.files}
    milliseconds, ratios = race(
        Path(reference),
        [Path(model) for model in models],
        values,
        seconds=float(seconds),
        threads=int(threads),
    )
    print(json.dumps({"milliseconds": milliseconds, "ratios": ratios}))


if __name__ == "__main__":
    main()
