"""What a quantized subject is worth: closeness to the float model, its task, its size."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from modelkit.comparison.tally import Tally
from modelkit.runtime.session import Setup
from tests.benchmarks.quantize.subjects import read_feeds


@dataclass(frozen=True)
class Judgement:
    """``decibels`` and ``agreement`` against the float model, ``top10`` of embeddings, ``score``."""

    decibels: float
    agreement: float | None
    top10: float | None
    score: float | None
    reference_score: float | None
    megabytes: float


def judged(folder: Path, model: Path) -> Judgement:
    """Run the subject and ``model`` on the evaluation samples."""
    tally, right, base, rows = Tally(), 0.0, 0.0, 0
    labels = folder / "labels.npy"
    wanted = np.load(labels) if labels.is_file() else None
    setup = Setup(threads=1, graph_level="all")
    with setup.open(folder / "model.onnx") as one, setup.open(model) as two:
        for feeds in read_feeds(folder / "evaluation"):
            here, there = (next(iter(s.run(feeds).values())) for s in (one, two))
            tally.add(here, there)
            if wanted is not None:
                part = wanted[rows : rows + len(here)]
                base += float((here.argmax(-1) == part).sum())
                right += float((there.argmax(-1) == part).sum())
                rows += len(here)
    found = tally.result("y")
    return Judgement(
        found.sqnr,
        found.agreement,
        None if wanted is not None else found.top10,
        right / rows if rows else None,
        base / rows if rows else None,
        model.stat().st_size / 1e6,
    )


def main() -> None:
    """Judge the model that the command line names; one line of JSON."""
    import json

    folder, model = sys.argv[1:]
    print(json.dumps(asdict(judged(Path(folder), Path(model)))))


if __name__ == "__main__":
    main()
