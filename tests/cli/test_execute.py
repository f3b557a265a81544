from pathlib import Path

from modelkit.cli import execute


def test_what_json_cannot_write_is_null() -> None:
    found = execute._finite({"a": [1.5, float("inf")], "b": (float("nan"), "x"), "c": 7})
    assert found == {"a": [1.5, None], "b": [None, "x"], "c": 7}


def test_weights_beside_a_model_count_by_the_name_it_gives_them(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"graph ... weights.bin ... tiny.bin")
    for name, megabytes in (("weights.bin", 32), ("tiny.bin", 1), ("other.bin", 64)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(megabytes << 20)
    assert execute._size(model) == model.stat().st_size + (32 << 20)


def test_a_folder_counts_whole_and_what_is_missing_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"45")
    assert execute._size(tmp_path) == 5
    assert execute._size(tmp_path / "nothing") == 0
