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
