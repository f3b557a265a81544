from pathlib import Path

import pytest

from modelkit.convert.companions import copy_beside, found_in
from modelkit.errors import CannotWrite


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("new")
    (folder / "model.safetensors").write_text("weights")
    return folder


def test_only_tokenizer_and_configuration_are_found(source: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("other")
    (tmp_path / "vocab.txt").write_text("words")
    found = found_in(source, tmp_path)
    assert found == (source / "tokenizer.json", tmp_path / "vocab.txt")


def test_files_are_copied_once(source: Path, tmp_path: Path) -> None:
    files = found_in(source)
    assert copy_beside(files, tmp_path, force=False) == (["tokenizer.json"], [])
    assert (tmp_path / "tokenizer.json").read_text() == "new"
    assert copy_beside(files, tmp_path, force=False) == ([], [])
    assert copy_beside(files, source, force=True) == ([], [])


def test_a_different_file_is_replaced_only_by_force(source: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("old")
    copied, notes = copy_beside(found_in(source), tmp_path, force=False)
    assert copied == []
    assert "tokenizer.json" in notes[0]
    assert (tmp_path / "tokenizer.json").read_text() == "old"
    assert copy_beside(found_in(source), tmp_path, force=True) == (["tokenizer.json"], [])
    assert (tmp_path / "tokenizer.json").read_text() == "new"


def test_a_disk_that_refuses_is_an_error_of_ours(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"tokenizer\.json could not be copied"):
        copy_beside(found_in(source), tmp_path / "nothere", force=False)
