"""The models that are quantized: how each is made, and what it is judged on.

Small ones are trained here on data that scikit-learn carries, from fixed seeds; the sentence
encoder has its real weights; the two large ones have random weights and are there for speed.

python -m tests.benchmarks.quantize.subjects NAME FOLDER
"""

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.optimizer.recipes import Call
from tests.benchmarks.quantize import trained, untrained
from tests.benchmarks.quantize.parts import Feeds, Parts

OPSET = 18


@dataclass(frozen=True)
class Subject:
    """``make(folder)`` gives its parts and keeps weights in the folder.

    ``judged`` is what its figures mean: "task", "order" (of neighbours) or "speed" alone.
    """

    name: str
    make: Callable[[Path], Parts]
    judged: str = "task"


SUBJECTS = (
    Subject("cnn", trained.cnn),
    Subject("cnn_unbalanced", trained.cnn_unbalanced),
    Subject("vit", trained.vit),
    Subject("vit_outliers", trained.vit_outliers),
    Subject("lstm", trained.lstm),
    Subject("gru", trained.gru),
    Subject("mlp_cancer", trained.mlp_cancer),
    Subject("mlp_digits", trained.mlp_digits),
    Subject("minilm", untrained.minilm, judged="order"),
    Subject("bert_base", untrained.bert_base, judged="speed"),
    Subject("resnet50", untrained.resnet50, judged="speed"),
)


def write(subject: Subject, folder: Path) -> None:
    """Make the subject and write its model and data into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = subject.make(folder.parent)
    if parts.convert is not None:
        from modelkit.convert import convert_file

        convert_file(str(parts.convert), str(folder / "model.onnx"), force=True)
    else:
        _export(parts, folder / "model.onnx")
    for name, samples in (("calibration", parts.calibration), ("evaluation", parts.evaluation)):
        _write_feeds(folder / name, samples)
    _write_feeds(folder / "speed", [parts.speed])
    if parts.labels is not None:
        np.save(folder / "labels.npy", parts.labels)
    (folder / "made.json").write_text(json.dumps({"score": parts.score}))


def read_feeds(folder: Path) -> list[Feeds]:
    """What :func:`write` left in a folder of samples."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            found.append({name: arrays[name] for name in arrays.files})
    return found


def _write_feeds(folder: Path, samples: Sequence[Feeds]) -> None:
    folder.mkdir(exist_ok=True)
    for number, feeds in enumerate(samples):
        values: dict[str, Any] = dict(feeds)
        np.savez(folder / f"{number:05}.npz", **values)


def _export(parts: Parts, path: Path) -> None:
    assert parts.module is not None
    names = list(parts.speed)
    sample = {name: np.repeat(value[:1], 2, axis=0) for name, value in parts.speed.items()}
    axes = {name: {0: "batch"} | ({1: "sequence"} if parts.ragged else {}) for name in names}
    shapes = tuple(axes[name] for name in names)
    with torch.no_grad():
        torch.onnx.export(
            parts.module.eval(),
            tuple(torch.from_numpy(sample[name]) for name in names),
            str(path),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=names,
            output_names=["y"],
            dynamic_shapes=(shapes,) if isinstance(parts.module, Call) else shapes,
        )


def main() -> None:
    """Make the named subject."""
    warnings.simplefilter("ignore")
    name, folder = sys.argv[1:]
    write(next(each for each in SUBJECTS if each.name == name), Path(folder))


if __name__ == "__main__":
    main()
