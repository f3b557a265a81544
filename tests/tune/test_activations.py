from pathlib import Path

import pytest

from modelkit.model import load, operator_counts
from modelkit.tune import _apply, _model
from modelkit.tune.activations import ACTIVATIONS
from modelkit.tune.subjects import Subject


@pytest.mark.parametrize("subject", ACTIVATIONS, ids=lambda each: each.fusion)
def test_the_convolutions_around_it_stay(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(_model(subject.text, 0).SerializeToString())
    model = load(path)
    _apply(model, (subject.fusion,))
    assert operator_counts(model)["Conv"] == 2
