from pathlib import Path

import pytest

from modelkit.tune.images import IMAGES
from modelkit.tune.subjects import Subject
from tests.tune.harness import counts_after


@pytest.mark.parametrize("subject", IMAGES, ids=lambda each: each.name)
def test_every_convolution_of_a_subject_is_rewritten(subject: Subject, tmp_path: Path) -> None:
    counts = counts_after(subject, tmp_path)
    assert sum(counts.get(f"modelkit.WinogradConv{end}", 0) for end in ("", "Relu")) == 2
