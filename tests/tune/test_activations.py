from pathlib import Path

import pytest

from modelkit.tune.activations import ACTIVATIONS
from modelkit.tune.subjects import Subject
from tests.tune.harness import counts_after


@pytest.mark.parametrize("subject", ACTIVATIONS, ids=lambda each: each.fusion)
def test_the_convolutions_around_it_stay(subject: Subject, tmp_path: Path) -> None:
    assert counts_after(subject, tmp_path)["Conv"] == 2
