"""Real inputs from the files people have, as feeds for a model.

``.npz`` (one array an input), ``.npy`` (models of one input), a folder of ``.npz``, ``.json`` and
``.jsonl`` (objects of input name to nested lists, or {"text": ...}), ``.txt`` (a text a line; the
tokenizer lies beside the model).  Nothing here executes code from a file.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelkit.errors import BadInput, MissingExtra, UsageError
from modelkit.model.files import regular_file
from modelkit.runtime.session import Feeds, Port
from modelkit.safe import safe

# A zip bomb expands a thousandfold; honest arrays rarely tenfold.
_LARGEST_EXPANSION = 200
_LARGEST_FILE = 64 << 30


def read_data(
    path: Path,
    inputs: Sequence[Port],
    *,
    tokenizer_folder: Path | None = None,
    batch: int = 1,
    max_length: int | None = None,
) -> Iterator[Feeds]:
    """Feeds for ``inputs`` from ``path``, one at a time, ``batch`` texts in each.

    Raises:
        BadInput: the file is missing, broken, holds Python objects, or lacks an input.
        MissingExtra: texts without the tokenizers library.
    """
    if path.is_dir():
        files = sorted(path.glob("*.npz"))
        if not files:
            raise BadInput(f"the folder {safe(str(path))} holds no .npz files")
        for file in files:
            yield _npz(file, inputs)
        return
    regular_file(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        yield _npz(path, inputs)
    elif suffix == ".npy":
        if len(inputs) != 1:
            raise UsageError("a .npy file fits models of one input only", hint="use .npz")
        yield {inputs[0].name: _cast(_array(path), inputs[0], path)}
    elif suffix in (".json", ".jsonl"):
        yield from _json(path, inputs, tokenizer_folder, batch, max_length)
    elif suffix == ".txt":
        texts = [line for line in _text(path).splitlines() if line.strip()]
        yield from _tokenized(texts, inputs, tokenizer_folder, batch, max_length, path)
    else:
        raise BadInput(
            f"cannot read inputs from {safe(path.name)}",
            hint="use .npz, .npy, .json, .jsonl, .txt or a folder of .npz files",
        )


def _array(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise BadInput(f"{safe(str(path))} is not a plain array", cause=safe(str(error))) from None


def _npz(path: Path, inputs: Sequence[Port]) -> Feeds:
    shown = safe(str(path))
    try:
        with zipfile.ZipFile(regular_file(path)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > min(_LARGEST_FILE, path.stat().st_size * _LARGEST_EXPANSION):
            raise BadInput(f"{shown} would expand to {size:,} bytes, which is refused")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"{shown} is not an archive of plain arrays", cause=safe(str(error))
        ) from None
    return _matched(found, inputs, path)


def _matched(found: dict[str, np.ndarray], inputs: Sequence[Port], path: Path) -> Feeds:
    if len(inputs) == 1 and len(found) == 1:
        return {inputs[0].name: _cast(next(iter(found.values())), inputs[0], path)}
    missing = [port.name for port in inputs if port.name not in found]
    if missing:
        held = ", ".join(safe(name, 40) for name in found)
        raise BadInput(
            f"{safe(str(path))} holds nothing for input '{safe(missing[0])}'",
            hint=f"it has: {held}",
        )
    return {port.name: _cast(found[port.name], port, path) for port in inputs}


def _cast(array: np.ndarray, port: Port, path: Path) -> np.ndarray:
    """``array`` in the input's type, if no value changes by more than float rounding."""
    if port.dtype == "str":
        return array.astype(object)
    kind = np.dtype(port.dtype)
    if array.dtype == kind:
        return np.ascontiguousarray(array)
    converted = array.astype(kind)
    exact = array.dtype.kind == "f" and kind.kind == "f"
    if not exact and not np.array_equal(converted, array):
        raise BadInput(
            f"{safe(str(path))}: input '{safe(port.name)}' is {port.dtype},"
            f" and its {array.dtype} values do not fit",
        )
    return converted


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{safe(str(path))} is not UTF-8 text", cause=str(error)) from None


def _json(
    path: Path,
    inputs: Sequence[Port],
    folder: Path | None,
    batch: int,
    max_length: int | None,
) -> Iterator[Feeds]:
    text = _text(path)
    try:
        if path.suffix.lower() == ".jsonl":
            records: Any = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{safe(str(path))} is not JSON", cause=safe(str(error))) from None
    records = records if isinstance(records, list) else [records]
    if all(isinstance(record, dict) and set(record) == {"text"} for record in records):
        texts = [str(record["text"]) for record in records]
        yield from _tokenized(texts, inputs, folder, batch, max_length, path)
        return
    for record in records:
        if not isinstance(record, dict):
            raise BadInput(f"{safe(str(path))} holds something else than objects of inputs")
        try:
            arrays = {str(name): np.asarray(value) for name, value in record.items()}
        except ValueError as error:
            raise BadInput(f"{safe(str(path))} holds ragged lists", cause=str(error)) from None
        yield _matched(arrays, inputs, path)


def _tokenized(
    texts: list[str],
    inputs: Sequence[Port],
    folder: Path | None,
    batch: int,
    max_length: int | None,
    path: Path,
) -> Iterator[Feeds]:
    if not texts:
        raise BadInput(f"{safe(str(path))} holds no text")
    tokenizer = _tokenizer(folder)
    if max_length is not None:
        tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding()
    for start in range(0, len(texts), batch):
        rows = tokenizer.encode_batch(texts[start : start + batch])
        columns = {
            "input_ids": [row.ids for row in rows],
            "attention_mask": [row.attention_mask for row in rows],
            "token_type_ids": [row.type_ids for row in rows],
        }
        unknown = [port.name for port in inputs if port.name not in columns]
        if unknown:
            raise UsageError(
                f"texts give no value for input '{safe(unknown[0])}'",
                hint="give arrays instead, as .npz",
            )
        yield {port.name: np.array(columns[port.name], dtype=port.dtype) for port in inputs}


def _tokenizer(folder: Path | None) -> Any:
    file = folder / "tokenizer.json" if folder is not None else None
    if file is None or not file.is_file():
        raise BadInput(
            "texts need a tokenizer, and there is no tokenizer.json beside the model",
            hint="copy it there; `modelkit convert` of a Hugging Face folder does",
        )
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise MissingExtra("reading texts", "text") from None
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:
        raise BadInput(
            f"{safe(str(file))} is not a usable tokenizer", cause=safe(str(error), 300)
        ) from None
