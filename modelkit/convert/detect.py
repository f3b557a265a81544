"""What a file or folder is, from its bytes and names, without importing any framework."""

import json
from pathlib import Path
from typing import Any

from modelkit.convert import pickles
from modelkit.convert.archives import Detected, in_archive
from modelkit.convert.frameworks import convertible
from modelkit.convert.messages import begins_like_onnx, in_message
from modelkit.errors import BadInput
from modelkit.model.files import looks_like, regular_file
from modelkit.safe import safe

_HEAD = 4096
_PICKLE_LOOK = 1 << 20
_LARGEST_JSON = 64 << 20
_LARGEST_HEADER = 100 << 20

# First bytes at an offset to (format, what was seen).
_MAGIC: tuple[tuple[bytes, int, str, str], ...] = (
    (b"TFL3", 4, "tflite", "the TFLite identifier"),
    (b"ORTM", 4, "ort", "the identifier of an ORT-format model"),
    (b"ET12", 4, "executorch", "the ExecuTorch identifier"),
    (b"GGUF", 0, "gguf", "a GGUF header"),
    (b"\x89HDF\r\n\x1a\n", 0, "keras-h5", "an HDF5 file"),
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", 0, "torch-legacy", "a legacy torch.save file"),
    (b"CBM1", 0, "catboost", "a CatBoost model"),
    (b"tree\nversion=", 0, "lightgbm", "a LightGBM text model"),
    (b"svm_type ", 0, "libsvm", "a LibSVM model"),
    (b"{L\0\0\0\0\0\0\0\x07learner", 0, "xgboost", "an XGBoost UBJSON model"),
    (b"{L\x07\0\0\0\0\0\0\0learner", 0, "xgboost", "an XGBoost UBJSON model"),
    (b"\x12\x01\0\0\0\0\0\0", 0, "mxnet", "MXNet parameters"),
    (b"\x08\x02\x12\x11\x0a\x07version", 0, "cntk", "a CNTK v2 model"),
)

# Text that stands near the start of a JSON or prototxt file, spaces left out.
_TEXTS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b'{"learner":',), "xgboost", "an XGBoost JSON model"),
    ((b'"features_info"',), "catboost", "a CatBoost JSON model"),
    ((b'"base_code":{"magic":"pir"',), "paddle", "a Paddle program as JSON"),
    ((b'{"nodes":', b'"op":'), "mxnet", "an MXNet symbol"),
    ((b'"weight_map":{',), "torch-shards", "an index of shards"),
    ((b"layer{",), "caffe", "a Caffe prototxt"),
    ((b"layers{",), "caffe", "a Caffe prototxt"),
)


def format_of(path: Path) -> Detected:
    """The format (a key of ``FRAMEWORKS``) and what it was recognised by.

    Raises:
        BadInput: missing, empty, or nothing known; the text says what it looks like.
    """
    if path.is_dir():
        return _folder(path)
    size = regular_file(path).stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic, offset, name, seen in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return Detected(name, seen)
    if path.suffix == ".pdiparams":
        # Weights without a mark of their own; the program beside them says the rest.
        return Detected("paddle", "its name")
    if head.startswith(b"PK\x03\x04"):
        return in_archive(path)
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") <= min(size, _LARGEST_HEADER):
        return Detected("safetensors", "a safetensors header")
    if b"MindSpore" in head[:64]:
        return Detected("mindir", "a MindSpore model")
    if 0x81 <= head[0] <= 0x8F and head[1:8] == b"\xa6params":
        return Detected("flax", "msgpack with params")
    return _pickle(path, head) or _text(head) or in_message(path) or _unknown(path, head)


def _pickle(path: Path, head: bytes) -> Detected | None:
    wrapped = pickles.unwrapped(head) != b""
    if not wrapped and not pickles.is_pickle(head):
        return None
    with path.open("rb") as file:
        data = file.read(_PICKLE_LOOK)
    content = pickles.unwrapped(data) if wrapped else data
    if not pickles.is_pickle(content):
        return None
    name, packages = pickles.owner(content)
    named = safe(", ".join(packages[:5]), 120) or "no package"
    kind = "a compressed Python pickle" if wrapped else "a Python pickle"
    return Detected(name, f"{kind} that names {named}")


def _text(head: bytes) -> Detected | None:
    dense = b"".join(head.split())
    for parts, name, seen in _TEXTS:
        if all(part in dense for part in parts):
            return Detected(name, seen)
    return None


def _folder(path: Path) -> Detected:
    if (path / "saved_model.pb").is_file():
        return Detected("saved-model", "saved_model.pb in the folder")
    if (path / "modules.json").is_file():
        return Detected("sentence-transformers", "modules.json in the folder")
    if (path / "adapter_config.json").is_file():
        return Detected("peft", "adapter_config.json in the folder")
    config = path / "config.json"
    if config.is_file() and {"architectures", "model_type"} & set(read_json(config)):
        return Detected("transformers", "config.json with a model_type")
    if any(path.glob("*.index.json")):
        return Detected("torch-shards", "*.index.json in the folder")
    if any(path.glob("*.meta")) and any(path.glob("*.data-*")):
        return Detected("meta-graph", "a checkpoint of TensorFlow 1 in the folder")
    if _spark(path):
        return Detected("spark", "Spark ML metadata in the folder")
    if any(path.glob("*.pdiparams")):
        return Detected("paddle", "*.pdiparams in the folder")
    if (path / "Manifest.json").is_file() and (path / "Data").is_dir():
        return Detected("coreml", "a Core ML package")
    if any(path.glob("*-symbol.json")):
        return Detected("mxnet", "*-symbol.json in the folder")
    if any(path.glob("*.caffemodel")):
        return Detected("caffe", "*.caffemodel in the folder")
    if (path / "init_net.pb").is_file() and (path / "predict_net.pb").is_file():
        return Detected("caffe2", "init_net.pb and predict_net.pb in the folder")
    raise _unknown_folder(path)


def _spark(path: Path) -> bool:
    for part in sorted((path / "metadata").glob("part-*"))[:1]:
        with part.open("rb") as file:
            return b"org.apache.spark.ml" in file.read(_HEAD)
    return False


def _unknown_folder(path: Path) -> BadInput:
    entries = sorted(path.iterdir())
    held = ", ".join(safe(entry.name, 40) for entry in entries[:8]) or "nothing"
    models = [entry for entry in entries if entry.suffix == ".onnx"]
    hint = f"convertible are: {convertible()}"
    if models:
        hint = f"name the file: {safe(str(models[0]))}"
    return BadInput(
        f"the folder {safe(str(path))} holds no model that is known",
        cause=f"it has: {held}",
        hint=hint,
        code="unknown-format",
    )


def _unknown(path: Path, head: bytes) -> Detected:
    if path.suffix == ".onnx" or begins_like_onnx(path):
        # The reader of ONNX files says where it breaks off.
        return Detected("onnx", "its name" if path.suffix == ".onnx" else "its first fields")
    hint = f"convertible are: {convertible()}"
    if path.name == "config.json":
        hint = f"name the folder that holds it: {safe(str(path.parent))}"
    raise BadInput(
        f"{safe(str(path))} is not a model of a known format",
        cause=f"it looks like {looks_like(head)}; it begins with {safe(repr(head[:16]))}",
        hint=hint,
        code="unknown-format",
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of at most 64 MB.

    Raises:
        BadInput: missing, too large, not JSON, or not an object.
    """
    value = _parsed(path)
    if not isinstance(value, dict):
        raise BadInput(f"{safe(str(path))} is not a JSON object")
    return value


def read_json_list(path: Path) -> list[dict[str, Any]]:
    """The list of objects in a JSON file of at most 64 MB; errors as :func:`read_json`."""
    value = _parsed(path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadInput(f"{safe(str(path))} is not a JSON list of objects")
    return value


def _parsed(path: Path) -> Any:
    shown = safe(str(path))
    if regular_file(path).stat().st_size > _LARGEST_JSON:
        raise BadInput(f"{shown} is too large for a configuration")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{shown} is not JSON", cause=safe(str(error), 200)) from None
