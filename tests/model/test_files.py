import os
from pathlib import Path

import pytest

from modelkit import progress
from modelkit.errors import BadInput
from modelkit.model.files import data_file, looks_like, mapped, regular_file


def test_only_regular_files_with_content(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("nothing", "no such file"),
        (".", "is a folder"),
        ("empty", "is empty"),
        ("pipe", "device or pipe"),
    ):
        with pytest.raises(BadInput, match=words):
            regular_file(tmp_path / name)
    with pytest.raises(BadInput, match="cannot read"):
        regular_file(tmp_path / "a\0b")


def test_mapping_reads_nothing_but_gives_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert bytes(mapped(tmp_path / "f")) == b"abc"


def test_hard_links_warn(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"x")
    os.link(tmp_path / "w", tmp_path / "w2")
    heard: list[str] = []
    progress.listen(lambda kind, text: heard.append(text))
    try:
        data_file(tmp_path / "m.onnx", "w", "t")
    finally:
        progress.listen(None)
    assert "hard links" in heard[0]


def test_names_of_formats() -> None:
    assert "TensorFlow Lite" in looks_like(b"\x1c\0\0\0TFL3")
    assert "safetensors" in looks_like(b"\x10\0\0\0\0\0\0\0{")
    assert looks_like(b"????") == "something else"
