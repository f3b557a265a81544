from pathlib import Path

import numpy as np
import pytest

from modelkit import progress
from modelkit.errors import CheckFailed
from modelkit.quantize import data
from modelkit.quantize.options import Options
from tests.models import linear_text, model_file


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_file(tmp_path / "m.onnx", linear_text(8, 4))


def folder_of(path: Path, count: int) -> Options:
    folder = path.parent / "samples"
    folder.mkdir()
    for number in range(count):
        np.savez(folder / f"{number:03}.npz", x=np.full((1, 8), number, np.float32))
    return Options(mode="static", calib_data=str(folder))


def test_of_many_samples_some_are_kept_for_the_check(model: Path) -> None:
    found = data.read(model, folder_of(model, 80))
    seen = [int(feeds["x"][0, 0]) for feeds in found.samples()]
    held = [int(feeds["x"][0, 0]) for feeds, _ in found.check.trials]
    assert held == [7, 15, 23, 31, 39, 47, 55, 63, 71, 79]
    assert sorted(seen + held) == list(range(80))
    assert found.count == len(seen) == len(list(found.samples()))
    assert "kept from calibration" in found.check.source


def test_few_samples_serve_twice_and_are_warned_about(model: Path) -> None:
    heard: list[tuple[str, str]] = []
    progress.listen(lambda kind, text: heard.append((kind, text)))
    try:
        found = data.read(model, folder_of(model, 3))
    finally:
        progress.listen(None)
    assert found.count == 3
    assert len(found.check.trials) == 1
    assert any(kind == "warning" and "only 3" in text for kind, text in heard)
    assert "kept" not in found.check.source


def test_the_rows_of_one_array_are_samples(model: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    file = model.with_name("x.npy")
    np.save(file, rows)
    found = data.read(model, Options(mode="static", calib_data=str(file)))
    assert found.notes == ()
    assert found.count == len(list(found.samples())) == 70
    assert "kept from calibration" in found.check.source
    seen = np.concatenate([each["x"] for each in found.samples()])
    held = np.concatenate([feeds["x"] for feeds, _ in found.check.trials])
    assert sorted(np.concatenate([seen, held])[:, 0]) == sorted(rows[:, 0])


def test_random_data_is_said_loudly(model: Path) -> None:
    heard: list[str] = []
    progress.listen(lambda kind, text: heard.append(text) if kind == "warning" else None)
    try:
        found = data.read(model, Options(mode="static", random_data=True))
    finally:
        progress.listen(None)
    assert any("RANDOM DATA" in text for text in heard)
    assert any("RANDOM DATA" in text for text in found.notes)
    assert found.count == len(list(found.samples())) == 64


def test_an_empty_file_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "read_data", lambda *rest, **options: iter(()))
    file = model.with_name("none.jsonl")
    with pytest.raises(CheckFailed, match="no sample"):
        data.read(model, Options(mode="static", calib_data=str(file)))
