"""What a file or folder is, from its bytes and names, without importing any framework."""

import json
import zipfile
from pathlib import Path
from typing import Any

from modelkit.errors import BadInput
from modelkit.model.files import looks_like, regular_file
from modelkit.safe import safe

_HEAD = 4096
_LARGEST_JSON = 64 << 20

# First bytes of a file to (format, what was seen).
_MAGIC: tuple[tuple[bytes, int, str, str], ...] = (
    (b"TFL3", 4, "tflite", "the TFLite identifier"),
    (b"\x89HDF\r\n\x1a\n", 0, "keras-h5", "an HDF5 file"),
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", 0, "torch-pickle", "a legacy torch.save file"),
    (b"CBM1", 0, "catboost", "a CatBoost model"),
    (b"tree\nversion=", 0, "lightgbm", "a LightGBM text model"),
    (b"svm_type ", 0, "libsvm", "a LibSVM model"),
    (b'{"learner"', 0, "xgboost", "an XGBoost JSON model"),
    (b"{L", 0, "xgboost", "an XGBoost UBJSON model"),
    (b"\x08\x02\x12\x11\x0a\x07version", 0, "cntk", "a CNTK v2 model"),
)


def detect(path: Path) -> tuple[str, str]:
    """(format, what it was recognised by); the format is a key of ``FRAMEWORKS``.

    Raises:
        BadInput: missing, empty, or nothing known; the text says what it looks like.
    """
    if path.is_dir():
        return _folder(path)
    regular_file(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic, offset, name, seen in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name, seen
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "safetensors", "a safetensors header"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "pickle", "a Python pickle"
    if b"MindSpore" in head[:64]:
        return "mindir", "a MindSpore model"
    if b'"features_info"' in head:
        return "catboost", "a CatBoost JSON model"
    return _protobuf(path, head)


def _folder(path: Path) -> tuple[str, str]:
    if (path / "saved_model.pb").is_file():
        return "saved-model", "saved_model.pb in the folder"
    if (path / "modules.json").is_file():
        return "sentence-transformers", "modules.json in the folder"
    config = path / "config.json"
    if config.is_file() and {"architectures", "model_type"} & set(read_json(config)):
        return "transformers", "config.json with a model_type"
    if (path / "metadata").is_dir() and any((path / "metadata").glob("part-*")):
        return "spark", "Spark ML metadata in the folder"
    if any(path.glob("*.pdiparams")):
        return "paddle", "*.pdiparams in the folder"
    if (path / "Manifest.json").is_file() and (path / "Data").is_dir():
        return "coreml", "a Core ML package"
    if any(path.glob("*-symbol.json")):
        return "mxnet", "*-symbol.json in the folder"
    held = ", ".join(sorted(safe(entry.name, 40) for entry in path.iterdir())[:8]) or "nothing"
    raise BadInput(
        f"the folder {safe(str(path))} holds no model that is known",
        cause=f"it has: {held}",
        hint="`modelkit convert --list` shows what is recognised, and how",
        code="unknown-format",
    )


def _archive(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:10_000]
    except (zipfile.BadZipFile, OSError) as error:
        raise BadInput(
            f"{safe(str(path))} is a broken zip archive",
            cause=safe(str(error)),
            hint="was the download cut off?",
        ) from None
    tails = {"/".join(name.split("/")[1:]) for name in names}
    if any(tail.startswith("code/") for tail in tails) and "data.pkl" in tails:
        return "torchscript", "code and data.pkl in the archive"
    if "models/model.json" in tails or "serialized_exported_program.json" in names:
        return "pt2", "an exported program in the archive"
    if "data.pkl" in tails:
        return "torch", "data.pkl in the archive"
    if {"config.json", "metadata.json"} <= set(names):
        return "keras", "config.json and metadata.json in the archive"
    if "schema.json" in names:
        return "skops", "schema.json in the archive"
    raise BadInput(f"{safe(str(path))} is a zip archive of no known model", code="unknown-format")


def _protobuf(path: Path, head: bytes) -> tuple[str, str]:
    from modelkit.model import wire
    from modelkit.model.files import mapped

    # ModelProto: ir_version (1, varint), graph (7), opset_import (8); all must be there.
    try:
        data = mapped(path)
        kinds = {(number, kind) for number, kind, *_ in wire.fields(data, 0, len(data))}
    except wire.Malformed:
        kinds = set()
    if {(1, 0), (7, 2), (8, 2)} <= kinds:
        return "onnx", "an ONNX ModelProto"
    if kinds and {number for number, _ in kinds} <= {1, 2, 3, 4, 5} and (1, 2) in kinds:
        return "frozen-graph", "a TensorFlow GraphDef"
    raise BadInput(
        f"{safe(str(path))} is not a model of a known format",
        cause=f"it looks like {looks_like(head)}",
        hint="`modelkit convert --list` shows what is recognised, and how",
        code="unknown-format",
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of at most 64 MB.

    Raises:
        BadInput: too large, not JSON, or not an object.
    """
    shown = safe(str(path))
    if regular_file(path).stat().st_size > _LARGEST_JSON:
        raise BadInput(f"{shown} is too large for a configuration")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{shown} is not JSON", cause=safe(str(error), 200)) from None
    if not isinstance(value, dict):
        raise BadInput(f"{shown} is not a JSON object")
    return value
