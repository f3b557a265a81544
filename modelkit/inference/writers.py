"""Results to a file while they come: .npz, .jsonl or .parquet, in flat memory.

A result lies under a hidden name beside its target until all samples are done.  For .jsonl that
name tells model, inputs and options, so that an interrupted run can go on where it stopped.
"""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from modelkit import progress
from modelkit.errors import CannotWrite, MissingExtra, UsageError
from modelkit.safe import safe

SUFFIXES = (".npz", ".jsonl", ".parquet")
_ROWS = 512


class Writer(Protocol):
    """Takes one sample's outputs after another; ``commit`` makes the file real."""

    done: int
    """Samples that an earlier run has already written."""

    def add(self, name: str, outputs: Mapping[str, Any]) -> None:
        """Write one sample's outputs."""

    def commit(self) -> None:
        """Finish, and put the file in its place."""

    def abandon(self) -> None:
        """Give up; what can be resumed stays."""


def open_writer(path: Path, *, key: str, force: bool, resume: bool) -> Writer:
    """A writer for the suffix of ``path``; ``key`` tells this run from others.

    Raises:
        CannotWrite: the target exists without ``force``, or its folder is missing.
        UsageError: another suffix, or ``resume`` of a format that cannot.
    """
    suffix, shown = path.suffix.lower(), safe(str(path))
    if suffix not in SUFFIXES:
        raise UsageError(f"cannot write {shown}", hint=f"use one of: {', '.join(SUFFIXES)}")
    if resume and suffix != ".jsonl":
        raise UsageError("--resume needs an output that ends in .jsonl")
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise CannotWrite(f"cannot write {shown}", cause="it is a folder, or its folder is missing")
    if path.exists() and not force:
        raise CannotWrite(f"{shown} exists", hint="add --force to overwrite it", code="exists")
    try:
        if suffix == ".jsonl":
            return JsonLines(path, key, resume=resume)
        return Arrays(path) if suffix == ".npz" else Parquet(path)
    except OSError as error:
        raise _cannot(path, error) from None


class JsonLines:
    """One object a sample: its number, its name, and its outputs as lists."""

    def __init__(self, path: Path, key: str, *, resume: bool) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.{key}.partial")
        self.done = _whole_lines(self.partial) if resume else 0
        self.file = self.partial.open("ab" if resume else "wb")
        self.resumable = resume
        if not resume:
            progress.temporary(str(self.partial))

    def add(self, name: str, outputs: Mapping[str, Any]) -> None:
        """Write one sample's outputs as a line."""
        values = {key: _listed(value) for key, value in outputs.items()}
        line = json.dumps({"sample": self.done, "name": safe(name, 500), "outputs": values})
        try:
            self.file.write(line.encode() + b"\n")
        except OSError as error:
            raise _cannot(self.path, error) from None
        self.done += 1

    def commit(self) -> None:
        """Put the file in its place."""
        try:
            self.file.close()
            self.partial.replace(self.path)
        except OSError as error:
            raise _cannot(self.path, error) from None
        progress.settled(str(self.partial))

    def abandon(self) -> None:
        """Keep what is written for ``--resume``, or remove it."""
        with suppress(OSError):
            self.file.close()
        if not self.resumable:
            self.partial.unlink(missing_ok=True)
            progress.settled(str(self.partial))


class Arrays:
    """A .npz with one array an output, samples joined along the first axis.

    Samples whose other axes differ are kept apart, as ``name/000000`` and so on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done = 0
        self.beside = _partial(path, "npz")
        self.spools: dict[str, _Spool] = {}

    def add(self, name: str, outputs: Mapping[str, Any]) -> None:
        """Append one sample's outputs to the arrays."""
        try:
            for index, (key, value) in enumerate(outputs.items()):
                if key not in self.spools:
                    self.spools[key] = _Spool(_partial(self.path, str(index)))
                self.spools[key].add(_array(value, key))
        except OSError as error:
            raise _cannot(self.path, error) from None
        self.done += 1

    def commit(self) -> None:
        """Join the arrays in one archive and put it in its place."""
        try:
            with zipfile.ZipFile(self.beside, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for key, spool in self.spools.items():
                    spool.write(archive, key)
            self.beside.replace(self.path)
        except OSError as error:
            raise _cannot(self.path, error) from None
        self.abandon()

    def abandon(self) -> None:
        """Remove what is not in its place."""
        for spool in self.spools.values():
            spool.file.close()
        for place in (self.beside, *(spool.path for spool in self.spools.values())):
            place.unlink(missing_ok=True)
            progress.settled(str(place))


class _Spool:
    """The bytes of one output's samples one after another, and their shapes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[bytes] = path.open("w+b")
        self.shapes: list[tuple[int, ...]] = []
        self.kind: np.dtype | None = None

    def add(self, array: np.ndarray) -> None:
        if self.kind not in (None, array.dtype):
            raise UsageError(f"an output changes its type from {self.kind} to {array.dtype}")
        self.kind = array.dtype
        self.shapes.append(array.shape)
        self.file.write(np.ascontiguousarray(array).tobytes())

    def write(self, archive: zipfile.ZipFile, key: str) -> None:
        assert self.kind is not None
        self.file.seek(0)
        joined = all(shape and shape[1:] == self.shapes[0][1:] for shape in self.shapes)
        if joined:
            rows = sum(shape[0] for shape in self.shapes)
            self._entry(archive, key, (rows, *self.shapes[0][1:]))
        elif len(self.shapes) == 1:
            self._entry(archive, key, self.shapes[0])
        else:
            for index, shape in enumerate(self.shapes):
                self._entry(archive, f"{key}/{index:06d}", shape)

    def _entry(self, archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> None:
        assert self.kind is not None
        head = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(self.kind)
        facts = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(head, facts)
        left = int(np.prod(shape, dtype=np.int64)) * self.kind.itemsize
        with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
            entry.write(head.getvalue())
            while left:
                block = self.file.read(min(left, 1 << 20))
                entry.write(block)
                left -= len(block)


class Parquet:
    """One row a sample, one column an output, nested lists as they are."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ModuleNotFoundError:
            raise MissingExtra("writing .parquet", "parquet") from None
        self.arrow = pyarrow
        self.path = path
        self.beside = _partial(path, "parquet")
        self.done = 0
        self.rows: list[dict[str, Any]] = []
        self.writer: Any = None

    def add(self, name: str, outputs: Mapping[str, Any]) -> None:
        """Add a row."""
        values = {key: _listed(value) for key, value in outputs.items()}
        self.rows.append({"sample": self.done, "name": safe(name, 500), **values})
        self.done += 1
        if len(self.rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self.rows:
            return
        try:
            schema = self.writer.schema if self.writer else None
            table = self.arrow.Table.from_pylist(self.rows, schema=schema)
            if self.writer is None:
                self.writer = self.arrow.parquet.ParquetWriter(self.beside, table.schema)
            self.writer.write_table(table)
        except (OSError, self.arrow.ArrowException) as error:
            raise _cannot(self.path, error) from None
        self.rows.clear()

    def commit(self) -> None:
        """Write what is left and put the file in its place."""
        self._flush()
        try:
            if self.writer is not None:
                self.writer.close()
                self.beside.replace(self.path)
        except OSError as error:
            raise _cannot(self.path, error) from None
        progress.settled(str(self.beside))

    def abandon(self) -> None:
        """Remove what is not in its place."""
        if self.writer is not None:
            self.writer.close()
        self.beside.unlink(missing_ok=True)
        progress.settled(str(self.beside))


def _partial(path: Path, what: str) -> Path:
    """A hidden file beside ``path`` that does not outlive the work."""
    place = path.with_name(f".{path.name}.{os.getpid()}.{what}.partial")
    progress.temporary(str(place))
    return place


def _whole_lines(path: Path) -> int:
    """Lines in ``path``; a broken last one is cut off."""
    if not path.exists():
        return 0
    count = end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            count, end = count + 1, end + len(line)
    with path.open("r+b") as file:
        file.truncate(end)
    return count


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _array(value: Any, name: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind in "OUS":
        raise UsageError(
            f"output '{safe(name)}' is no array of numbers", hint="write it to a .jsonl file"
        )
    return array


def _cannot(path: Path, error: Exception) -> CannotWrite:
    return CannotWrite(f"cannot write {safe(str(path))}", cause=safe(str(error), 200))
