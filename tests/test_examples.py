"""Every numbered example runs as it stands and leaves what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_every_folder_has_a_script_and_a_readme() -> None:
    folders = [folder for folder in sorted(EXAMPLES.iterdir()) if folder.is_dir()]
    assert [folder.name for folder in folders] == ["01_minilm"]
    for folder in folders:
        assert (folder / "run.sh").is_file()
        assert (folder / "README.md").is_file()


def test_the_sentences_are_many_and_split_without_overlap() -> None:
    parts = [
        (EXAMPLES / "01_minilm" / "sentences" / f"{name}.txt").read_text().splitlines()
        for name in ("calibration", "evaluation")
    ]
    assert all(len(part) >= 128 for part in parts)
    assert len({*parts[0], *parts[1]}) == len(parts[0]) + len(parts[1]) >= 250


@pytest.mark.slow
def test_the_real_model_goes_all_the_way(tmp_path: Path) -> None:
    place = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", str(EXAMPLES / "01_minilm" / "run.sh")],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "BUILD": str(tmp_path), "PATH": f"{place}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    sizes = {name: (tmp_path / f"{name}.onnx").stat().st_size for name in ("minilm", "minilm.int8")}
    assert sizes["minilm.int8"] < 0.26 * sizes["minilm"]
    assert "38 of 38 layers quantized" in done.stderr
    assert "attention_heads" in done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    names = [row[0] for row in rows if len(row) > 8 and row[1] in ("eager", "cpu")]
    assert names == ["sentence-transformers", "minilm.onnx", "minilm.opt.onnx", "minilm.int8.onnx"]
