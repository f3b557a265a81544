from pathlib import Path

import pytest

from modelkit.model import load, operator_counts
from modelkit.tune import _apply, _model
from modelkit.tune.images import IMAGES
from modelkit.tune.subjects import Subject


@pytest.mark.parametrize("subject", IMAGES, ids=lambda each: each.name)
def test_every_convolution_of_a_subject_is_rewritten(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(_model(subject.text, 0).SerializeToString())
    model = load(path)
    _apply(model, (subject.fusion,))
    counts = operator_counts(model)
    assert sum(counts.get(f"modelkit.WinogradConv{end}", 0) for end in ("", "Relu")) == 2
