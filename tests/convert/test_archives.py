import zipfile
from pathlib import Path

import pytest

from modelkit.convert.archives import in_archive, unpack_onnx
from modelkit.errors import BadInput


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return path


def test_the_folder_inside_a_torch_archive_may_have_any_name(tmp_path: Path) -> None:
    assert in_archive(zipped(tmp_path / "a", "archive/data.pkl")).format == "torch"
    assert in_archive(zipped(tmp_path / "b", "x y/data.pkl")).format == "torch"


def test_the_only_onnx_file_is_the_model_and_several_are_told(tmp_path: Path) -> None:
    found = in_archive(zipped(tmp_path / "a.zip", "export/model.onnx", "labels.txt"))
    assert found == ("onnx-zip", "export/model.onnx in the archive")
    with pytest.raises(BadInput) as caught:
        in_archive(zipped(tmp_path / "b.zip", "a.onnx", "b.onnx", "labels.txt"))
    assert "one of its 2 models" in caught.value.hint
    assert "labels.txt" in caught.value.cause


def test_only_what_belongs_to_the_model_is_unpacked_and_nowhere_else(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip", "../../m/net.onnx", "../../m/net.onnx.data", "../../m/labels.txt",
        "../../m/run.py", "../../labels.txt", "m/other.data",
    )  # fmt: skip
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    model, labels = unpack_onnx(path, folder)
    assert model == folder / "net.onnx"
    assert labels == (folder / "labels.txt",)
    names = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")}
    assert names == {"a.zip", "in", "in/side"} | {
        f"in/side/{name}" for name in ("net.onnx", "net.onnx.data", "labels.txt")
    }


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.onnx", bytes(50 << 20))
    with pytest.raises(BadInput, match="grows without measure"):
        unpack_onnx(tmp_path / "a.zip", tmp_path)
    assert not (tmp_path / "model.onnx").exists()


def test_a_damaged_entry_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("model.onnx", b"weights" * 100)
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"weightsweights", b"weightsWEIGHTS", 1))
    with pytest.raises(BadInput, match="could not be unpacked"):
        unpack_onnx(tmp_path / "a.zip", tmp_path)
