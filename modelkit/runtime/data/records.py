"""Input values out of records: .json, .jsonl, .csv and .parquet."""

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelkit.errors import BadInput, MissingExtra
from modelkit.model.files import regular_file
from modelkit.runtime.data.arrays import fitted, matched
from modelkit.runtime.data.texts import Text
from modelkit.runtime.ports import Port
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

Record = dict[str, Any]
_TEXT = {"text"}
_PAIR = {"text", "text_pair"}
_LONGEST_LINE = 64 << 20
_ROWS = 1024


def records_of(path: Path) -> Iterator[Record]:
    """The records of ``path``, one at a time.

    Raises:
        BadInput: broken, or something else than records.
        MissingExtra: .parquet without pyarrow.
    """
    regular_file(path)
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        yield from _json_lines(path)
    elif suffix == ".json":
        yield from _json(path)
    elif suffix == ".csv":
        yield from _csv(path)
    else:
        yield from _parquet(path)


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends, empty ones left out."""
    try:
        with regular_file(path).open(encoding="utf-8") as file:
            while line := file.readline(_LONGEST_LINE):
                if line.strip():
                    yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{safe(str(path))} is not UTF-8 text", cause=str(error)) from None


def split_texts(path: Path) -> tuple[Iterator[Record], bool]:
    """The records of ``path``, and whether they are texts for a tokenizer."""
    records = records_of(path)
    first = next(records, None)
    if first is None:
        raise BadInput(f"{safe(str(path))} holds no records")
    texts = set(first) in (_TEXT, _PAIR)
    return itertools.chain([first], records), texts


def text_of(record: Record, path: Path) -> Text:
    """The text, or pair of texts, in ``record``."""
    if set(record) == _PAIR:
        return str(record["text"]), str(record["text_pair"])
    if set(record) != _TEXT:
        raise BadInput(
            f"{safe(str(path))} mixes texts with other records",
            cause=f"one has: {', '.join(safe(key, 40) for key in record)}",
        )
    return str(record["text"])


def record_feeds(record: Record, inputs: Sequence[Port], path: Path) -> Feeds:
    """The values of one record by input; a number becomes as many axes as the input has."""
    if len(inputs) == 1 and inputs[0].name not in record and _is_row(record, inputs[0]):
        # A table's row: the columns are the features of the only input.
        row = np.asarray(list(record.values()))
        return {inputs[0].name: fitted(row[None], inputs[0], path)}
    try:
        arrays = {str(name): np.asarray(value) for name, value in record.items()}
    except ValueError as error:
        raise BadInput(f"{safe(str(path))} holds ragged lists", cause=str(error)) from None
    ranks = {port.name: len(port.shape) for port in inputs}
    shaped = {
        name: array.reshape((1,) * (ranks[name] - array.ndim) + array.shape)
        if ranks.get(name, 0) > array.ndim
        else array
        for name, array in arrays.items()
    }
    return matched(shaped, inputs, path)


def _is_row(record: Record, port: Port) -> bool:
    numbers = all(isinstance(value, int | float) for value in record.values())
    return numbers and len(port.shape) == 2 and port.shape[1] in (None, len(record), "?")


def _json_lines(path: Path) -> Iterator[Record]:
    for number, line in enumerate(lines_of(path), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(
                f"{safe(str(path))}, line {number} is not JSON", cause=safe(str(error))
            ) from None
        yield _object(record, path)


def _json(path: Path) -> Iterator[Record]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{safe(str(path))} is not JSON", cause=safe(str(error))) from None
    for record in found if isinstance(found, list) else [found]:
        yield _object(record, path)


def _object(record: Any, path: Path) -> Record:
    if not isinstance(record, dict):
        raise BadInput(f"{safe(str(path))} holds something else than objects of inputs")
    return record


def _csv(path: Path) -> Iterator[Record]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file, strict=True), 2):
                if None in row or None in row.values():
                    raise BadInput(f"{safe(str(path))}, line {number} has another number of cells")
                yield {str(key): _cell(value) for key, value in row.items()}
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{safe(str(path))} is not CSV", cause=safe(str(error))) from None


def _cell(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _parquet(path: Path) -> Iterator[Record]:
    try:
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise MissingExtra("reading .parquet", "parquet") from None
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                yield from batch.to_pylist()
    except Exception as error:  # pyarrow's kinds share no base of their own
        raise BadInput(f"{safe(str(path))} is not Parquet", cause=safe(str(error), 200)) from None
