from pathlib import Path

from modelkit.convert.digest import source_digest


def test_a_folder_is_its_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"2")
    before = source_digest(str(tmp_path))
    assert before == source_digest(str(tmp_path))
    (tmp_path / "b" / "c").write_bytes(b"3")
    assert source_digest(str(tmp_path)) != before


def test_the_factory_counts(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    path = str(tmp_path / "a")
    assert source_digest(path, "net:small") != source_digest(path, "net:large")
    assert source_digest("net:small") == source_digest("net:large")


def test_the_files_of_an_index_count_with_it(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"w": "one.safetensors"}}')
    (tmp_path / "one.safetensors").write_bytes(b"1")
    before = source_digest(str(index))
    (tmp_path / "one.safetensors").write_bytes(b"2")
    assert source_digest(str(index)) != before
