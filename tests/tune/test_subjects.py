from pathlib import Path

import pytest

from modelkit.model import load
from modelkit.optimize.choice import rewrites
from modelkit.tune import SUBJECTS, _apply, _model
from modelkit.tune.subjects import Subject


def test_every_rewrite_that_is_not_faster_everywhere_is_timed() -> None:
    judged = {each.name for each in rewrites() if each.level != "basic"}
    assert {subject.fusion for subject in SUBJECTS} == judged


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda each: f"{each.fusion} {each.name}")
def test_the_fusion_fires_on_its_subject(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(_model(subject.text, 0).SerializeToString())
    model = load(path)
    assert _apply(model, subject.base) == set(subject.base)
    wanted = {subject.fusion, *subject.also}
    assert _apply(model, (subject.fusion, *subject.also)) == wanted
