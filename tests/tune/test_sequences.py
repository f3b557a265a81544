from pathlib import Path

import pytest

from modelkit.tune.sequences import SEQUENCES
from modelkit.tune.subjects import Subject
from tests.tune.harness import counts_after

ALONE = [subject for subject in SEQUENCES if subject.also]


@pytest.mark.parametrize("subject", ALONE, ids=lambda each: each.name)
def test_nothing_between_the_layers_leaves_the_image(subject: Subject, tmp_path: Path) -> None:
    counts = counts_after(subject, tmp_path, rounds=4)
    assert counts["Squeeze"] == 1
    assert counts["Unsqueeze"] <= 2  # the input, and what an activation makes of it
