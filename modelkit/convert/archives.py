"""What a zip archive holds, from the names in it."""

import shutil
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from modelkit.errors import BadInput
from modelkit.safe import safe

_MOST_NAMES = 100_000
_CHUNK = 1 << 20
_SMALL = 1 << 20
# Weights hardly shrink; a thousandfold is no model.
_MOST_GROWTH = 1000
# What goes with an ONNX file: external data, and labels as Custom Vision and others write them.
_BESIDE = (".data", ".bin", ".weights", "labels.txt")


class Detected(NamedTuple):
    """A key of ``FRAMEWORKS``, and what it was recognised by."""

    format: str
    seen: str


def in_archive(path: Path) -> Detected:
    """The format of a zip archive.

    Raises:
        BadInput: broken, or of no known model; the text says what lies in it.
    """
    names = _names(path)
    # torch puts everything in a folder named after the archive.
    tails = {name.partition("/")[2] for name in names}
    if "data.pkl" in tails and any(tail.startswith("code/") for tail in tails):
        return Detected("torchscript", "code/ and data.pkl in the archive")
    if "models/model.json" in tails or "serialized_exported_program.json" in names:
        return Detected("pt2", "an exported program in the archive")
    if "data.pkl" in tails:
        return Detected("torch", "data.pkl in the archive")
    if {"config.json", "metadata.json"} <= names:
        return Detected("keras", "config.json and metadata.json in the archive")
    if "schema.json" in names:
        return Detected("skops", "schema.json in the archive")
    if names and all(name.endswith(".npy") for name in names):
        return Detected("arrays", "only .npy files in the archive")
    models = sorted(name for name in names if name.endswith(".onnx"))
    if len(models) == 1:
        return Detected("onnx-zip", f"{safe(models[0], 80)} in the archive")
    held = ", ".join(safe(name, 40) for name in sorted(names)[:6]) or "nothing"
    raise BadInput(
        f"{safe(str(path))} is a zip archive of no known model",
        cause=f"it holds: {held}",
        hint=f"unpack it and convert one of its {len(models)} models" if models else "",
        code="unknown-format",
    )


def unpack_onnx(path: Path, folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """The one ONNX file of an archive, unpacked into ``folder``, and the labels beside it.

    External data that lies beside it is unpacked with it.

    Raises:
        BadInput: broken, or it would grow without measure.
    """
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist()[:_MOST_NAMES] if not entry.is_dir()]
        (model,) = (entry for entry in entries if entry.filename.endswith(".onnx"))
        place = model.filename.rpartition("/")[0]
        beside = [e for e in entries if e.filename.rpartition("/")[0] == place]
        wanted = [e for e in beside if e is model or e.filename.endswith(_BESIDE)]
        for entry in wanted:
            if entry.file_size > _SMALL and entry.file_size > _MOST_GROWTH * entry.compress_size:
                raise BadInput(
                    f"{safe(entry.filename, 80)} in {safe(str(path))} grows without measure",
                    cause=f"{entry.compress_size} bytes would become {entry.file_size}",
                    code="bomb",
                )
        files = [_unpacked(archive, entry, folder, path) for entry in wanted]
    labels = tuple(file for file in files if file.suffix == ".txt")
    return folder / _last(model), labels


def _last(entry: zipfile.ZipInfo) -> str:
    return entry.filename.rpartition("/")[2].rpartition("\\")[2]


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, path: Path) -> Path:
    target = folder / _last(entry)
    try:
        with archive.open(entry) as stream, target.open("wb") as file:
            shutil.copyfileobj(stream, file, _CHUNK)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, zlib.error) as error:
        raise BadInput(
            f"{safe(entry.filename, 80)} in {safe(str(path))} could not be unpacked",
            cause=safe(str(error), 200),
            code="truncated",
        ) from None
    return target


def _names(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()[:_MOST_NAMES])
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadInput(
            f"{safe(str(path))} is a broken zip archive",
            cause=safe(str(error)),
            hint="was the download cut off?",
            code="truncated",
        ) from None
