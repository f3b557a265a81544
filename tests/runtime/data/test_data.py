import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import BadInput, ModelkitError, UsageError
from modelkit.runtime.data import read_data
from modelkit.runtime.session import Port

X = Port("x", "float32", ("n", 2))
TEXT = [Port("input_ids", "int64", ("b", "s")), Port("attention_mask", "int64", ("b", "s"))]


def test_arrays_in_every_form(tmp_path: Path) -> None:
    array = np.array([[1, 2]], np.float32)
    np.savez(tmp_path / "a.npz", x=array)
    np.save(tmp_path / "a.npy", array.astype(np.int64))
    (tmp_path / "a.json").write_text(json.dumps({"x": [[1, 2]]}))
    (tmp_path / "a.jsonl").write_text('{"x": [[1, 2]]}\n\n{"x": [[1, 2]]}\n')
    folder = tmp_path / "folder"
    folder.mkdir()
    np.savez(folder / "1.npz", x=array)
    for name, count in (("a.npz", 1), ("a.npy", 1), ("a.json", 1), ("a.jsonl", 2), ("folder", 1)):
        found = list(read_data(tmp_path / name, [X]))
        assert len(found) == count
        np.testing.assert_array_equal(found[0]["x"], array)
        assert found[0]["x"].dtype == np.float32


def tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "b": 2, "[UNK]": 3}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))


def test_texts_are_tokenized_padded_and_cut(tmp_path: Path) -> None:
    tokenizer(tmp_path)
    (tmp_path / "t.txt").write_text("a b a\n\nb\n")
    (tmp_path / "t.jsonl").write_text('{"text": "a b a"}\n{"text": "b"}\n')
    for name in ("t.txt", "t.jsonl"):
        (feeds,) = read_data(tmp_path / name, TEXT, tokenizer_folder=tmp_path, batch=2)
        assert feeds["input_ids"].tolist() == [[1, 2, 1], [2, 0, 0]]
        assert feeds["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    first = next(read_data(tmp_path / "t.txt", TEXT, tokenizer_folder=tmp_path, max_length=2))
    assert first["input_ids"].shape == (1, 2)


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("canary"),))


def test_python_objects_are_refused_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "o.npy", np.array([Bomb()], object), allow_pickle=True)
    (tmp_path / "p.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("o.npy", "p.npz"):
        with pytest.raises(BadInput):
            list(read_data(tmp_path / name, [X]))
    assert not (tmp_path / "canary").exists()


def test_a_zip_bomb_is_refused_before_it_expands(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\0" * (64 << 20))
    with pytest.raises(BadInput, match="expand"):
        list(read_data(tmp_path / "z.npz", [X]))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "{", "not JSON"),
        ("a.json", "3", "something else than objects"),
        ("a.json", '{"x": [[1], [1, 2]]}', "ragged"),
        ("a.json", '{"z": [1], "w": [2]}', "nothing for input 'x'"),
        ("a.json", "[" * 100_000, "not JSON"),
        ("a.xyz", "?", "cannot read inputs"),
        ("a.txt", "\n \n", "holds no text"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=words):
        list(read_data(tmp_path / name, [X]))


def test_values_that_do_not_fit_the_type_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.5, 2]]))
    with pytest.raises(BadInput, match="do not fit"):
        list(read_data(tmp_path / "a.npy", [Port("i", "int64", ("n", 2))]))


def test_texts_for_a_model_without_tokenizer_or_text_inputs(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a\n")
    with pytest.raises(ModelkitError, match=r"no tokenizer\.json beside"):
        list(read_data(tmp_path / "t.txt", TEXT, tokenizer_folder=tmp_path))
    tokenizer(tmp_path)
    with pytest.raises(UsageError, match="no value for input 'x'"):
        list(read_data(tmp_path / "t.txt", [X], tokenizer_folder=tmp_path))
