import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from modelkit.errors import BadInput
from modelkit.model import load, save, sha256
from tests.models import linear_text, model_file, parsed, run


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A model with its weights in weights.bin beside it."""
    model = parsed(linear_text(8, 300))
    path = tmp_path / "home" / "m.onnx"
    path.parent.mkdir()
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def relocated(path: Path, location: str) -> Path:
    """The same model, pointing at ``location``."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_are_mapped_and_right(tmp_path: Path, outside: Path) -> None:
    inline = model_file(tmp_path / "inline.onnx", linear_text(8, 300))
    for path in (inline, outside):
        weight = load(path).graph.initializers["w"].const_value
        assert weight is not None
        expected = onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0])
        np.testing.assert_array_equal(weight.numpy(), expected)


@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "/etc/hostname",
        "a/../../secret.bin",
        "x\0weights.bin",
        "x\nbin",
        "",
        "C:\\x",
    ],
)
def test_a_path_that_leaves_the_folder_is_refused(outside: Path, location: str) -> None:
    (outside.parent.parent / "secret.bin").write_bytes(b"\0" * 20000)
    with pytest.raises(BadInput, match="outside|impossible"):
        load(relocated(outside, location))


def test_a_link_that_leaves_the_folder_is_refused(outside: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    (outside.parent / "weights.bin").rename(secret)
    (outside.parent / "weights.bin").symlink_to(secret)
    with pytest.raises(BadInput, match="link that leaves"):
        load(outside)


def test_the_hugging_face_cache_of_links_works(outside: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for name in ("m.onnx", "weights.bin"):
        (outside.parent / name).rename(blobs / f"hash-{name}")
        (snapshot / name).symlink_to(Path("..") / ".." / "blobs" / f"hash-{name}")
    assert len(load(snapshot / "m.onnx").graph) == 2


def test_missing_and_short_data_say_so(outside: Path) -> None:
    data = outside.parent / "weights.bin"
    os.truncate(data, 100)
    with pytest.raises(BadInput, match="does not fit its data"):
        load(outside)
    data.unlink()
    with pytest.raises(BadInput, match="missing") as caught:
        load(outside)
    assert "beside the .onnx file" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-8"), ("offset", "x"), ("length", str(2**64))]
)
def test_impossible_places_are_refused(outside: Path, key: str, value: str) -> None:
    model = onnx.load(outside, load_external_data=False)
    entries = model.graph.initializer[0].external_data
    for entry in [entry for entry in entries if entry.key == key]:
        entries.remove(entry)
    entries.add(key=key, value=value)
    outside.write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match="impossible|does not fit"):
        load(outside)


def test_a_data_file_that_is_a_pipe_is_refused(outside: Path) -> None:
    (outside.parent / "weights.bin").unlink()
    os.mkfifo(outside.parent / "weights.bin")
    with pytest.raises(BadInput, match="device or pipe"):
        load(outside)


def test_every_cut_of_a_file_is_refused_or_read(tmp_path: Path) -> None:
    data = parsed(linear_text(8, 40)).SerializeToString()
    path = tmp_path / "m.onnx"
    for length in range(1, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(BadInput) as caught:
            load(path)
        assert length < 3 or "is cut off or damaged" in caught.value.message


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"PK\x03\x04" + b"x" * 40, "zip"),
        (b"\x89HDF\r\n\x1a\n" + b"x" * 40, "HDF5"),
        (b"\x80\x04\x95" + b"x" * 40, "pickle"),
        (b'{"a": 1}', "JSON"),
        (b"<html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ],
)
def test_another_format_is_named(tmp_path: Path, head: bytes, name: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(head)
    with pytest.raises(BadInput, match="not an ONNX model") as caught:
        load(path)
    assert name in caught.value.cause
    assert "modelkit convert --list" in caught.value.hint


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells it on Linux only")
def test_three_gigabytes_cost_no_memory(tmp_path: Path) -> None:
    rows = 800_000_000
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[rows], data_location=1)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(rows * 4))):
        tensor.external_data.add(key=key, value=value)
    model = parsed(
        """<ir_version: 10, opset_import: ["": 20]> g (float[1] x) => (float[n] y)
        { y = Add(x, w) }""".replace("{ y", "<float w> { y")
    )
    del model.graph.initializer[:]
    model.graph.initializer.append(tensor)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(rows * 4)
    # VmHWM starts anew with the process; ru_maxrss would be that of the test runner.
    code = (
        "import sys; from pathlib import Path; from modelkit.model import load\n"
        "model = load(Path(sys.argv[1]))\n"
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 400 * 1024


def test_the_hash_covers_the_data_file(outside: Path) -> None:
    before = sha256(outside)
    data = outside.parent / "weights.bin"
    changed = bytearray(data.read_bytes())
    changed[5] ^= 1
    data.write_bytes(changed)
    assert sha256(outside) != before


def test_what_is_read_runs(outside: Path) -> None:
    assert run(outside, {"x": np.ones((2, 8), np.float32)})["y"].shape == (2, 300)


@pytest.mark.parametrize("imports", [("ai.onnx",), ("", "ai.onnx"), ("ai.onnx", "ai.onnx.ml")])
@pytest.mark.parametrize("written", ["", "ai.onnx"])
def test_both_names_of_the_domain_of_onnx_are_read(
    tmp_path: Path, imports: tuple[str, ...], written: str
) -> None:
    proto = parsed(linear_text(64, 32))
    del proto.opset_import[:]
    versions = {"ai.onnx.ml": 3}
    opsets = [onnx.helper.make_opsetid(name, versions.get(name, 17)) for name in imports]
    proto.opset_import.extend(opsets)
    for node in proto.graph.node:
        node.domain = written
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = load(tmp_path / "m.onnx")
    assert model.graph.opset_imports[""] == 17
    assert "ai.onnx" not in model.graph.opset_imports
    assert {node.domain for node in model.graph} == {""}
    out = save(model, tmp_path / "out.onnx")
    feeds = {"x": np.ones((4, 64), np.float32)}
    for name, value in run(tmp_path / "m.onnx", feeds).items():
        np.testing.assert_array_equal(run(out, feeds)[name], value)


def test_two_versions_of_one_domain_are_refused(tmp_path: Path) -> None:
    proto = parsed(linear_text(64, 32))
    proto.opset_import.append(onnx.helper.make_opsetid("ai.onnx", 11))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(BadInput, match="opset domain"):
        load(tmp_path / "m.onnx")


def test_lengths_below_zero_and_question_marks_are_open_axes(tmp_path: Path) -> None:
    model = parsed(linear_text(8, 3))
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[1].dim_param = "?"
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    found = load(path).graph
    for value in (found.inputs[0], found.outputs[0]):
        assert value.shape is not None
        assert isinstance(value.shape[0], ir.SymbolicDim)
        assert value.shape[0].value is None
    assert found.inputs[0].shape is not None
    assert found.inputs[0].shape[1] == ir.SymbolicDim(None)
