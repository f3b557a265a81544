from pathlib import Path

import pytest

from modelkit.model import load, operator_counts
from modelkit.tune import _apply, _model
from modelkit.tune.sequences import SEQUENCES
from modelkit.tune.subjects import Subject

ALONE = [subject for subject in SEQUENCES if subject.also]


@pytest.mark.parametrize("subject", ALONE, ids=lambda each: each.name)
def test_nothing_between_the_layers_leaves_the_image(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(_model(subject.text, 0).SerializeToString())
    model = load(path)
    for _ in range(4):
        _apply(model, (subject.fusion, *subject.also))
    counts = operator_counts(model)
    assert counts["Squeeze"] == 1
    assert counts["Unsqueeze"] <= 2  # the input, and what an activation makes of it
