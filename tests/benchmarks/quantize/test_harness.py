"""What the tables say of rows, and which networks the trained subjects are."""

from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.quantize import nets, pictures
from tests.benchmarks.quantize.results import Row, markdown, merged, read
from tests.benchmarks.rows import write

FINE = Row("cnn", "modelkit-static", "", 37.3, 1.0, None, 0.99, 0.992, 0.15, (1.7, 1.6, 1.8), 3.0)
BROKEN = Row("cnn", "ort-dynamic", "InferenceError: (64) vs (128)")


def test_rows_survive_the_file_and_new_ones_take_the_place_of_old(tmp_path: Path) -> None:
    path = tmp_path / "quantize.json"
    assert read(path) == []
    write(path, [FINE, BROKEN], {"machine": "this"})
    assert read(path) == [FINE, BROKEN]
    newer = Row("cnn", "modelkit-static", "does not run")
    assert merged(read(path), [newer]) == [BROKEN, newer]


def test_the_table_names_scores_and_failures() -> None:
    text = markdown([BROKEN, FINE], {"machine": "this"})
    assert "## cnn (float: 99.20 %)" in text
    assert "| modelkit-static | 37.3 | 99.00 % | 100.00 % | - | 1.70 (1.60-1.80) | 0.150 |" in text
    assert "| ort-dynamic | fails: InferenceError: (64) vs (128) |" in text


def test_test_rows_are_never_trained_on_and_their_versions_are_repeatable() -> None:
    flat, again = pictures.flat_digits(), pictures.flat_digits()
    assert np.array_equal(flat.test, again.test)
    trained = {row.tobytes() for row in flat.train}
    assert sum(row.tobytes() in trained for row in flat.test) == 0
    assert len(flat.train) + len(flat.test) == 1797


def test_the_convolutional_subject_has_17_convolutions() -> None:
    net = nets.Cnn().eval()
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in net.modules()) == 17
    assert net(torch.zeros(2, 1, 32, 32)).shape == (2, 10)
