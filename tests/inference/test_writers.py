import json
import os
from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import CannotWrite, UsageError
from modelkit.inference.writers import open_writer

ONE = {"y": np.ones((1, 2), np.float32)}


def write(path: Path, *samples: dict, **rest: object) -> None:
    options = {"key": "k", "force": False, "resume": False, **rest}
    writer = open_writer(path, **options)  # type: ignore[arg-type]
    for index, sample in enumerate(samples):
        writer.add(f"s{index}", sample)
    writer.commit()


def test_arrays_are_joined(tmp_path: Path) -> None:
    write(tmp_path / "o.npz", ONE, {"y": np.zeros((3, 2), np.float32)})
    with np.load(tmp_path / "o.npz") as found:
        assert found["y"].tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]
    assert [p.name for p in tmp_path.iterdir()] == ["o.npz"]


def test_ragged_arrays_stay_apart(tmp_path: Path) -> None:
    write(tmp_path / "o.npz", ONE, {"y": np.zeros((1, 5), np.float32)})
    with np.load(tmp_path / "o.npz") as found:
        assert {name: found[name].shape for name in found.files} == {
            "y/000000": (1, 2),
            "y/000001": (1, 5),
        }


def test_scalars_and_empty_arrays(tmp_path: Path) -> None:
    write(tmp_path / "o.npz", {"a": np.float32(3), "b": np.zeros((0, 4))})
    with np.load(tmp_path / "o.npz") as found:
        assert found["a"].shape == ()
        assert found["b"].shape == (0, 4)


def test_texts_go_to_lines_only(tmp_path: Path) -> None:
    texts = {"y": np.array(["a"], object)}
    write(tmp_path / "o.jsonl", texts)
    assert json.loads((tmp_path / "o.jsonl").read_text())["outputs"] == {"y": ["a"]}
    with pytest.raises(UsageError, match="no array of numbers"):
        write(tmp_path / "o.npz", texts)


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write(tmp_path / "o.parquet", *[ONE] * 1000)
    table = parquet.read_table(tmp_path / "o.parquet").to_pylist()
    assert len(table) == 1000
    assert table[999] == {"sample": 999, "name": "s999", "y": [[1.0, 1.0]]}
    assert [p.name for p in tmp_path.iterdir()] == ["o.parquet"]


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    writer = open_writer(path, key="k", force=False, resume=True)
    writer.add("s0", ONE)
    writer.add("s1", ONE)
    writer.abandon()
    (partial,) = tmp_path.iterdir()
    with partial.open("ab") as file:
        file.write(b'{"sample": 2, "na')  # cut off in the middle
    again = open_writer(path, key="k", force=False, resume=True)
    assert again.done == 2
    again.add("s2", ONE)
    again.commit()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["sample"] for line in lines] == [0, 1, 2]
    other = open_writer(tmp_path / "p.jsonl", key="other", force=False, resume=True)
    assert other.done == 0
    other.abandon()


def test_without_resume_nothing_is_left(tmp_path: Path) -> None:
    for name in ("o.jsonl", "o.npz", "o.parquet"):
        writer = open_writer(tmp_path / name, key="k", force=False, resume=False)
        writer.add("s0", ONE)
        writer.abandon()
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "o.npz"
    path.write_text("mine")
    with pytest.raises(CannotWrite, match="exists"):
        write(path, ONE)
    assert path.read_text() == "mine"
    write(path, ONE, force=True)
    assert path.read_bytes()[:2] == b"PK"


@pytest.mark.parametrize(
    ("name", "resume", "error"),
    [("o.txt", False, UsageError), ("o.npz", True, UsageError), ("no/o.npz", False, CannotWrite)],
)
def test_places_that_cannot_be(tmp_path: Path, name: str, resume: bool, error: type) -> None:
    with pytest.raises(error):
        write(tmp_path / name, ONE, resume=resume)


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite):
        write(tmp_path / "o.jsonl", ONE)
