import zipfile
from pathlib import Path

import pytest

from modelkit.convert.archives import in_archive
from modelkit.errors import BadInput


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return path


def test_the_folder_inside_a_torch_archive_may_have_any_name(tmp_path: Path) -> None:
    assert in_archive(zipped(tmp_path / "a", "archive/data.pkl")).format == "torch"
    assert in_archive(zipped(tmp_path / "b", "x y/data.pkl")).format == "torch"


def test_an_onnx_file_inside_is_named_in_the_hint(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        in_archive(zipped(tmp_path / "a.zip", "export/model.onnx", "labels.txt"))
    assert "export/model.onnx" in caught.value.hint
    assert "labels.txt" in caught.value.cause
