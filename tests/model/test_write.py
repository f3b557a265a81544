import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from modelkit.errors import CannotWrite
from modelkit.model import add_step, facts, load, save, stage, write
from tests.models import linear_text, model_file, run

SHAPE = {"x": np.arange(8, dtype=np.float32).reshape(1, 8)}


@pytest.fixture
def model(tmp_path: Path) -> ir.Model:
    return load(model_file(tmp_path / "source.onnx", linear_text(8, 300)))


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_weights_survive_inline_and_external(
    model: ir.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(tmp_path / "source.onnx", SHAPE)["y"]
    inline = save(model, tmp_path / "inline.onnx")
    monkeypatch.setattr(write, "INLINE_LIMIT", 100)
    outside = save(model, tmp_path / "outside.onnx")
    for path in (inline, outside):
        np.testing.assert_array_equal(run(path, SHAPE)["y"], expected)
    data = [name for name in listing(tmp_path) if name.endswith(".onnx.data")]
    assert len(data) == 1
    digest = hashlib.sha256((tmp_path / data[0]).read_bytes()).hexdigest()[:12]
    assert data[0] == f"outside.{digest}.onnx.data"
    assert facts(load(outside), outside).bytes == (
        outside.stat().st_size + (tmp_path / data[0]).stat().st_size
    )


def test_the_same_model_gives_the_same_bytes(model: ir.Model, tmp_path: Path) -> None:
    one, two = save(model, tmp_path / "1.onnx"), save(model.clone(), tmp_path / "2.onnx")
    assert one.read_bytes() == two.read_bytes()


def test_reading_and_writing_over_the_same_file_is_safe(model: ir.Model, tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    expected = run(source, SHAPE)["y"]
    save(load(source), source, force=True)
    np.testing.assert_array_equal(run(source, SHAPE)["y"], expected)


def test_replacing_a_model_takes_its_own_old_data_along_and_nothing_else(
    model: ir.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "INLINE_LIMIT", 100)
    target = save(model, tmp_path / "m.onnx")
    foreign = tmp_path / "m.other.onnx.data"
    foreign.write_bytes(b"not ours")
    weight = model.graph.initializers["w"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * 2, name="w")
    save(model, target, force=True)
    data = [name for name in listing(tmp_path) if name.startswith("m.") and "data" in name]
    assert len(data) == 2
    assert foreign.name in data
    ort.InferenceSession(target)


def test_an_existing_file_needs_force(model: ir.Model, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    target.write_bytes(b"precious")
    with pytest.raises(CannotWrite, match="exists") as caught:
        stage(model, target)
    assert "--force" in caught.value.hint
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("place", ["missing/m.onnx", "."])
def test_an_impossible_place_is_refused(model: ir.Model, tmp_path: Path, place: str) -> None:
    with pytest.raises(CannotWrite):
        stage(model, tmp_path / place)


@pytest.mark.parametrize("limit", [100, 1 << 30])
def test_a_full_disk_leaves_the_old_output_and_no_rubbish(
    model: ir.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(write, "INLINE_LIMIT", limit)
    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    before = listing(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match="could not be written") as caught:
        stage(model, target, force=True)
    assert "No space left" in caught.value.cause
    assert listing(tmp_path) == before
    assert target.read_bytes() == b"old"


def test_leaving_without_commit_leaves_nothing(
    model: ir.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "INLINE_LIMIT", 100)
    before = listing(tmp_path)
    with stage(model, tmp_path / "m.onnx") as staged:
        assert staged.path.exists()
        ort.InferenceSession(staged.path)
    assert listing(tmp_path) == before


def test_a_kill_before_the_commit_leaves_the_old_model_whole(tmp_path: Path) -> None:
    model_file(tmp_path / "source.onnx", linear_text(8, 300))
    code = (
        "import os, sys; from pathlib import Path; from modelkit.model import load, stage, write\n"
        "write.INLINE_LIMIT = 100; folder = Path(sys.argv[1])\n"
        "with stage(load(folder / 'source.onnx'), folder / 'source.onnx', force=True):\n"
        "    os._exit(9)"
    )
    before = (tmp_path / "source.onnx").read_bytes()
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 9
    assert (tmp_path / "source.onnx").read_bytes() == before
    run(tmp_path / "source.onnx", SHAPE)


def test_repeated_and_missing_node_names_are_made_unique(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2] x) => (float[2] y)
    { [same] a = Neg(x) [same] b = Neg(a) y = Neg(b) }"""
    path = save(load(model_file(tmp_path / "m.onnx", text)), tmp_path / "out.onnx")
    names = [node.name for node in load(path).graph]
    assert names == ["same", "same_1", "Neg_0"]
    ort.InferenceSession(path)


def test_the_ir_version_stays_within_what_the_runtime_opens(tmp_path: Path) -> None:
    text = """<ir_version: 14, opset_import: ["": 20]> g (float[2] x) => (float[2] y)
    { y = Neg(x) }"""
    path = save(load(model_file(tmp_path / "m.onnx", text)), tmp_path / "out.onnx")
    ort.InferenceSession(path)


def test_provenance_survives(model: ir.Model, tmp_path: Path) -> None:
    add_step(model, "optimize", {"level": "all"}, "abc", ["kept x"])
    again = load(save(model, tmp_path / "out.onnx"))
    assert "optimize" in again.metadata_props["modelkit.history"]
