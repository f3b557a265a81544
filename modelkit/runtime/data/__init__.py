"""Real inputs from the files people have, as feeds for a model.

``.npz`` (one array an input), ``.npy`` (models of one input), ``.json``, ``.jsonl``, ``.csv``,
``.parquet`` (records of input name to values, or {"text": ...}), ``.txt`` (a text a line; the
tokenizer lies beside the model), images, ``test_data_set_*`` folders of ONNX model collections, and
folders of any one of these.  Everything is read as it is asked for; nothing here executes code from
a file.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from modelkit.errors import BadInput
from modelkit.runtime.data import arrays, images, records, texts
from modelkit.runtime.data.settings import Preprocessing
from modelkit.runtime.ports import Port
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

_RECORDS = (".json", ".jsonl", ".csv", ".parquet")
_KNOWN = (".npz", ".npy", *_RECORDS, ".txt", *images.SUFFIXES)
_FORMS = ".npz, .npy, .json, .jsonl, .csv, .parquet, .txt, an image, or a folder of one of these"


@dataclass(frozen=True)
class Sample:
    """One run's inputs and where they came from: a file, or a file and a number in it."""

    name: str
    feeds: Feeds


def read_data(
    path: Path,
    inputs: Sequence[Port],
    *,
    tokenizer_folder: Path | None = None,
    batch: int = 1,
    max_length: int | None = None,
    settings: Preprocessing | None = None,
) -> Iterator[Feeds]:
    """Feeds for ``inputs`` from ``path``, one at a time; see :func:`read_samples`."""
    chosen = settings or Preprocessing()
    if max_length is not None:
        chosen = replace(chosen, max_length=max_length)
    for sample in read_samples(
        path, inputs, settings=chosen, tokenizer_folder=tokenizer_folder, batch=batch
    ):
        yield sample.feeds


def read_samples(
    path: Path,
    inputs: Sequence[Port],
    *,
    settings: Preprocessing,
    tokenizer_folder: Path | None = None,
    batch: int = 1,
) -> Iterator[Sample]:
    """Samples for ``inputs`` from ``path``; ``batch`` texts or images in each.

    Raises:
        BadInput: the file is missing, broken, holds Python objects, or lacks an input.
        MissingExtra: texts, images or .parquet without the library that reads them.
    """
    if path.is_dir():
        yield from _folder(path, inputs, settings, tokenizer_folder, batch)
        return
    suffix = path.suffix.lower()
    if suffix == ".npz":
        yield Sample(path.name, arrays.read_npz(path, inputs))
    elif suffix == ".npy":
        yield Sample(path.name, arrays.read_npy(path, inputs))
    elif suffix in images.SUFFIXES:
        port = images.image_port(inputs)
        yield Sample(path.name, {port.name: images.read_image(path, port, settings)})
    elif suffix in _RECORDS:
        found, are_texts = records.split_texts(path)
        if not are_texts:
            for number, record in enumerate(found):
                feeds = records.record_feeds(record, inputs, path)
                yield Sample(f"{path.name}:{number}", feeds)
            return
        words = (records.text_of(record, path) for record in found)
        yield from _numbered(
            texts.tokenized(words, inputs, tokenizer_folder, settings, batch=batch, path=path), path
        )
    elif suffix == ".txt":
        lines = records.lines_of(path)
        yield from _numbered(
            texts.tokenized(lines, inputs, tokenizer_folder, settings, batch=batch, path=path), path
        )
    else:
        raise BadInput(f"cannot read inputs from {safe(path.name)}", hint=f"use {_FORMS}")


def _numbered(feeds: Iterator[Feeds], path: Path) -> Iterator[Sample]:
    for number, each in enumerate(feeds):
        yield Sample(f"{path.name}:{number}", each)


def _folder(
    path: Path,
    inputs: Sequence[Port],
    settings: Preprocessing,
    tokenizer_folder: Path | None,
    batch: int,
) -> Iterator[Sample]:
    if (path / "input_0.pb").is_file():
        yield Sample(path.name, arrays.read_test_set(path, inputs))
        return
    sets = sorted(place for place in path.glob("test_data_set_*") if place.is_dir())
    if sets:
        for place in sets:
            yield Sample(place.name, arrays.read_test_set(place, inputs))
        return
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _KNOWN)
    if not files:
        raise BadInput(f"the folder {safe(str(path))} holds no inputs", hint=f"use {_FORMS}")
    if all(file.suffix.lower() in images.SUFFIXES for file in files):
        port = images.image_port(inputs)
        yield from batched(
            (Sample(f.name, {port.name: images.read_image(f, port, settings)}) for f in files),
            batch,
        )
        return
    for file in files:
        yield from read_samples(
            file, inputs, settings=settings, tokenizer_folder=tokenizer_folder, batch=batch
        )


def batched(samples: Iterator[Sample], batch: int) -> Iterator[Sample]:
    """``batch`` samples joined along the first axis; the last may be fewer.

    Raises:
        BadInput: samples of different shape.
    """
    if batch == 1:
        yield from samples
        return
    while group := list(islice(samples, batch)):
        yield Sample(group[0].name, _joined([sample.feeds for sample in group], group[0].name))


def _joined(feeds: Sequence[Feeds], name: str) -> Feeds:
    join: Callable[..., np.ndarray] = np.concatenate
    try:
        return {key: join([each[key] for each in feeds]) for key in feeds[0]}
    except ValueError as error:
        raise BadInput(
            f"the samples from {safe(name)} on have different shapes",
            cause=safe(str(error)),
            hint="use --batch 1, or --resize",
        ) from None
