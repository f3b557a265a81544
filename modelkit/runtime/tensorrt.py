"""What TensorRT needs beside a model: shapes of its dynamic axes, and caches that can be trusted.

TensorRT compiles an engine for a range of shapes; without one ONNX Runtime builds an engine anew
at every new shape, minutes each.  An engine is machine code, so only those in folders that
modelkit made, for exactly this model, options and versions, are loaded.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelkit.errors import CannotWrite, UsageError
from modelkit.safe import safe

Ports = Sequence[tuple[str, tuple[int | str | None, ...]]]
Profile = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""Input name to its smallest, usual and largest shape."""

_KINDS = ("min", "opt", "max")
_MARK = "modelkit-engine-cache.json"
# ONNX Runtime reads "name:1x3x224x224,other:1x8"; names of no other form can be written in it.
_WRITABLE = re.compile(r"[^,:\s]+")


def read_profile(texts: Sequence[str]) -> dict[str, tuple[tuple[int, ...], ...]]:
    """``["x:1x3,4x3,8x3"]`` as input name to smallest, usual and largest shape.

    Raises:
        UsageError: not of that form, ranks differ, or the order is not min <= opt <= max.
    """
    found: dict[str, tuple[tuple[int, ...], ...]] = {}
    for text in texts:
        name, colon, shapes = text.rpartition(":")
        lengths = [part.split("x") for part in shapes.split(",")]
        plain = all(length.isdecimal() for part in lengths for length in part)
        if not (colon and name and plain and len(lengths) == 3):
            raise UsageError(
                f"--trt-shape {safe(text)} is not NAME:MIN,OPT,MAX",
                hint="write it as --trt-shape x:1x3x224x224,8x3x224x224,32x3x224x224",
            )
        low, usual, high = (tuple(map(int, part)) for part in lengths)
        ordered = len(low) == len(usual) == len(high) and all(
            a <= b <= c for a, b, c in zip(low, usual, high, strict=True)
        )
        if not ordered:
            raise UsageError(f"--trt-shape {safe(text)}: not min <= opt <= max in every axis")
        found[name] = (low, usual, high)
    return found


def profile_options(
    ports: Ports, given: Mapping[str, Sequence[tuple[int, ...]]], explicit: Mapping[str, str]
) -> dict[str, str]:
    """The three ``trt_profile_*_shapes`` options for inputs with dynamic axes.

    Raises:
        UsageError: a dynamic axis without a profile; the hint holds the flags to type.
    """
    if any(key.startswith("trt_profile_") for key in explicit):
        return {}
    dynamic = [(name, shape) for name, shape in ports if not _fixed(shape)]
    missing = [(name, shape) for name, shape in dynamic if name not in given]
    if missing:
        flags = " ".join(f"--trt-shape {safe(n)}:{_suggestion(s)}" for n, s in missing)
        raise UsageError(
            f"TensorRT needs the shapes of input '{safe(missing[0][0])}', which has dynamic axes",
            cause="without them it builds an engine at every new shape, minutes each",
            hint=flags,
            code="trt-shapes",
        )
    unknown = [name for name in given if name not in dict(ports)]
    if unknown:
        raise UsageError(f"--trt-shape: the model has no input '{safe(unknown[0])}'")
    odd = [name for name, _ in dynamic if not _WRITABLE.fullmatch(name)]
    if odd:
        raise UsageError(f"TensorRT profiles cannot name the input '{safe(odd[0])}'")
    return {
        f"trt_profile_{kind}_shapes": ",".join(
            f"{name}:{'x'.join(map(str, given[name][index]))}" for name, _ in dynamic
        )
        for index, kind in enumerate(_KINDS)
        if dynamic
    }


def cache_options(
    root: Path, model_sha: str, options: Mapping[str, str], versions: Mapping[str, str]
) -> dict[str, str]:
    """The options of an engine and timing cache under ``root``, made for exactly these facts.

    Raises:
        CannotWrite: the folder cannot be made, or is not ours to trust.
    """
    facts = {"model": model_sha, "options": dict(options), "versions": dict(versions)}
    text = json.dumps(facts, sort_keys=True)
    folder = root / "tensorrt" / hashlib.sha256(text.encode()).hexdigest()[:24]
    _own_folder(folder, text)
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }


def default_cache() -> Path:
    """Where caches lie when nobody says: the user's own cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return Path(base).expanduser() / "modelkit"


def _own_folder(folder: Path, mark: str) -> None:
    """Make ``folder``, or check that it is one modelkit made and nobody else can write."""
    note = folder / _MARK
    try:
        if folder.exists() or folder.is_symlink():
            if folder.is_symlink() or not note.is_file() or note.read_text() != mark:
                raise CannotWrite(
                    f"{safe(str(folder))} is not an engine cache of modelkit",
                    hint="remove it, or give another --cache",
                )
            if _others_can_write(folder):
                raise CannotWrite(
                    f"others can write {safe(str(folder))}, so its engines are not loaded",
                    hint="chmod 700 it after a look, or remove it",
                )
            return
        folder.mkdir(parents=True, mode=0o700)
        note.write_text(mark)
    except OSError as error:
        raise CannotWrite(
            f"cannot use the cache {safe(str(folder))}", cause=safe(str(error))
        ) from None


def _others_can_write(folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return False  # Windows guards the user's folders by their own lists
    facts = folder.stat()
    return facts.st_uid != os.getuid() or bool(facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _fixed(shape: tuple[int | str | None, ...]) -> bool:
    return all(isinstance(dim, int) and dim >= 0 for dim in shape)


def _suggestion(shape: tuple[int | str | None, ...]) -> str:
    """Lengths to start from: 1, 8 and 32 for the batch, 1, 128 and 512 elsewhere."""
    parts = []
    for index in range(3):
        lengths = [
            str(dim) if isinstance(dim, int) and dim >= 0 else str(_length(axis, index))
            for axis, dim in enumerate(shape)
        ]
        parts.append("x".join(lengths))
    return ",".join(parts)


def _length(axis: int, index: int) -> int:
    return ((1, 8, 32) if axis == 0 else (1, 128, 512))[index]
