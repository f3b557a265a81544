"""What a zip archive holds, from the names in it."""

import zipfile
from pathlib import Path
from typing import NamedTuple

from modelkit.errors import BadInput
from modelkit.safe import safe

_MOST_NAMES = 100_000


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
    held = ", ".join(safe(name, 40) for name in sorted(names)[:6]) or "nothing"
    raise BadInput(
        f"{safe(str(path))} is a zip archive of no known model",
        cause=f"it holds: {held}",
        hint=f"unpack it and convert {safe(models[0], 80)}" if models else "",
        code="unknown-format",
    )


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
