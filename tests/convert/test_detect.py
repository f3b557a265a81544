import gzip
import io
import json
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from modelkit.convert.detect import format_of, read_json, read_json_list
from modelkit.convert.frameworks import FRAMEWORKS
from modelkit.errors import BadInput
from tests.models import linear_text, parsed


def field(number: int, payload: bytes) -> bytes:
    assert number < 16 and len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def archive(*names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return held.getvalue()


def pickled(module: str) -> bytes:
    return b"\x80\x04c" + module.encode() + b"\nThing\n."


SAFETENSORS = struct.pack("<Q", 2) + b"{}"
NODE = field(1, b"x") + field(2, b"Placeholder")
OPERATOR = field(1, b"data") + field(2, b"conv1") + field(4, b"Conv")

FILES: list[tuple[str, bytes, str]] = [
    ("onnx", parsed(linear_text(3, 2)).SerializeToString(), "ModelProto"),
    ("onnx-zip", archive("model.onnx", "labels.txt", "cvexport.manifest"), "model.onnx in the"),
    ("torch", archive("net/data.pkl", "net/version", "net/data/0"), "data.pkl"),
    ("torch-legacy", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02", "legacy"),
    ("safetensors", struct.pack("<Q", 20) + b'{"w": {"dtype": "F32"}}', "safetensors"),
    ("torch-shards", b'{"metadata": {"total_size": 8}, "weight_map": {"w": "x"}}', "shards"),
    ("torchscript", archive("net/data.pkl", "net/code/__torch__.py"), "code"),
    ("pt2", archive("net/models/model.json", "net/data/weights/x"), "exported program"),
    ("pt2", archive("serialized_exported_program.json", "version"), "exported program"),
    ("saved-model", b"\x08\x01" + field(2, field(1, b"") + field(2, NODE)), "SavedModel"),
    ("frozen-graph", field(1, NODE) + field(1, NODE) + field(4, b"\x08\x01"), "GraphDef"),
    ("meta-graph", field(1, field(5, b"2.21")) + field(2, field(1, NODE)) + field(3, b""), "Meta"),
    ("tflite", b"\x1c\0\0\0TFL3\0\0", "TFLite"),
    ("keras", archive("config.json", "metadata.json", "model.weights.h5"), "metadata.json"),
    ("keras-h5", b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
    ("sklearn-pickle", pickled("sklearn.pipeline"), "sklearn"),
    ("sklearn-pickle", zlib.compress(pickled("sklearn.svm._classes")), "compressed"),
    ("sklearn-pickle", gzip.compress(pickled("sklearn.svm._classes")), "compressed"),
    ("xgboost-pickle", pickled("xgboost.sklearn"), "xgboost"),
    ("lightgbm-pickle", pickled("lightgbm.sklearn"), "lightgbm"),
    ("catboost-pickle", pickled("catboost.core"), "catboost"),
    ("pickle", pickle.dumps({"a": 1}), "pickle"),
    ("skops", archive("schema.json", "1234.npy"), "schema.json"),
    ("xgboost", b'{"learner":{"attributes":{}}}', "JSON"),
    ("xgboost", b'{\n  "learner": {}\n}', "JSON"),
    ("xgboost", b"{L" + struct.pack(">Q", 7) + b"learner{", "UBJSON"),
    ("lightgbm", b"tree\nversion=v4\nnum_class=1\n", "LightGBM"),
    ("catboost", b"CBM1\0\0", "CatBoost"),
    ("catboost", b'{\n"features_info":{"float_features":[]}}', "CatBoost JSON"),
    ("libsvm", b"svm_type c_svc\nkernel_type rbf\n", "LibSVM"),
    ("paddle", b'{"base_code":{"magic":"pir","trainable":false}}', "Paddle"),
    ("paddle", field(1, b"\x08\0\x10\0" + field(3, b"")), "ProgramDesc"),
    ("coreml", b"\x08\x04" + field(2, field(1, b"")) + b"\xa2\x1f\x02\x0a\x00", "Core ML"),
    ("mxnet", b'{"nodes": [{"op": "null", "name": "data"}], "arg_nodes": [0]}', "symbol"),
    ("mxnet", struct.pack("<QQ", 0x112, 0), "parameters"),
    ("mindir", b"\x0a\x030.1\x12\x09MindSpore\x1a\x00", "MindSpore"),
    ("cntk", b"\x08\x02\x12\x11\x0a\x07version\x12\x06", "CNTK"),
    ("caffe", b'name: "net"\nlayer {\n  name: "conv1"\n}\n', "prototxt"),
    ("caffe", field(1, b"net") + b"\xa2\x06\x03" + field(1, b"c"), "layers"),
    ("caffe2", field(1, b"net") + field(2, OPERATOR), "Caffe2"),
    ("flax", b"\x81\xa6params\x80", "msgpack"),
    ("arrays", archive("a.npy", "b.npy"), ".npy"),
    ("gguf", b"GGUF\x03\0\0\0", "GGUF"),
    ("ort", b"\x18\0\0\0ORTM", "ORT"),
    ("executorch", b"\x18\0\0\0ET12", "ExecuTorch"),
]

FOLDERS: list[tuple[str, dict[str, bytes]]] = [
    ("peft", {"adapter_config.json": b"{}"}),
    ("saved-model", {"saved_model.pb": b"x"}),
    ("sentence-transformers", {"modules.json": b"[]", "config.json": b'{"model_type": "bert"}'}),
    ("transformers", {"config.json": b'{"model_type": "bert"}'}),
    ("torch-shards", {"model.safetensors.index.json": b"{}"}),
    ("meta-graph", {"model-9.meta": b"x", "model-9.data-00000-of-00001": b"x"}),
    ("meta-graph", {".meta": b"x", ".data-00000-of-00001": b"x", "config.json": b"{}"}),
    ("spark", {"metadata/part-00000": b'{"class":"org.apache.spark.ml.PipelineModel"}'}),
    ("paddle", {"inference.pdiparams": b"x", "inference.json": b"{}"}),
    ("coreml", {"Manifest.json": b"{}", "Data/x": b""}),
    ("mxnet", {"net-symbol.json": b"{}", "net-0000.params": b"x"}),
    ("caffe", {"net.prototxt": b"x", "net.caffemodel": b"x"}),
    ("caffe2", {"init_net.pb": b"x", "predict_net.pb": b"x"}),
]


@pytest.mark.parametrize(("name", "data", "seen"), FILES)
def test_each_file_format_is_known_by_its_bytes(
    tmp_path: Path, name: str, data: bytes, seen: str
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    found = format_of(path)
    assert found.format == name
    assert seen in found.seen


@pytest.mark.parametrize(("name", "files"), FOLDERS)
def test_each_folder_format_is_known_by_its_files(
    tmp_path: Path, name: str, files: dict[str, bytes]
) -> None:
    for file, data in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(data)
    assert format_of(tmp_path).format == name


def test_every_row_of_the_table_is_detected_by_a_test() -> None:
    tested = {name for name, _, _ in FILES} | {name for name, _ in FOLDERS}
    # A function has no file to look at.
    assert tested == set(FRAMEWORKS) - {"jax"}


def refusal(path: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        format_of(path)
    return caught.value


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b'{"a": 1}', "JSON"),
        (b"\x1b]52;c;AAAA\x07 hello", r"\x1b]52"),
        (b"MZ\x90\0" * 20, "MZ"),
    ],
)
def test_an_unknown_file_says_what_it_looks_like(tmp_path: Path, data: bytes, seen: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    error = refusal(path)
    assert error.code == "unknown-format"
    assert seen in error.cause
    assert "\x1b" not in error.cause
    assert "PyTorch" in error.hint


def test_a_truncated_onnx_file_is_left_to_the_reader_of_onnx(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(parsed(linear_text(30, 20)).SerializeToString()[:-50])
    assert format_of(path).format == "onnx"


def test_missing_empty_and_cut_files_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nothere").code == "no-such-file"
    (tmp_path / "empty").write_bytes(b"")
    assert refusal(tmp_path / "empty").code == "empty"
    (tmp_path / "cut.pt").write_bytes(archive("net/data.pkl")[:40])
    assert refusal(tmp_path / "cut.pt").code == "truncated"


def test_the_file_inside_a_folder_leads_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert str(tmp_path) in refusal(tmp_path / "config.json").hint


def test_an_unknown_folder_lists_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert "notes.txt" in refusal(tmp_path).cause
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert "model.onnx" in refusal(tmp_path).hint


def test_read_json_refuses_what_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[" * 100_000)
    with pytest.raises(BadInput, match="not JSON"):
        read_json(path)
    path.write_text("[1]")
    with pytest.raises(BadInput, match="not a JSON object"):
        read_json(path)
    with pytest.raises(BadInput, match="list of objects"):
        read_json_list(path)
    path.write_text(json.dumps({"a": 1}))
    assert read_json(path) == {"a": 1}
