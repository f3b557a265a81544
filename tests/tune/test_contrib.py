from pathlib import Path

import pytest

from modelkit.model import load
from modelkit.tune import _apply, _model
from modelkit.tune.contrib import CONTRIB
from modelkit.tune.subjects import Subject

RIVALS = [subject for subject in CONTRIB if subject.against]


@pytest.mark.parametrize("subject", RIVALS, ids=lambda each: f"{each.fusion} {each.name}")
def test_what_it_is_raced_against_takes_the_same_place(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(_model(subject.text, 0).SerializeToString())
    rival = load(path)
    assert _apply(rival, subject.against) == set(subject.against)
    assert not _apply(rival, (subject.fusion,))
