from pathlib import Path

import pytest

from modelkit.tune.images import IMAGES
from modelkit.tune.subjects import Subject
from tests.tune.harness import counts_after

WINOGRAD = [each for each in IMAGES if "winograd" in each.fusion]
INVERTED = [each for each in IMAGES if each.fusion == "inverted_residual"]


@pytest.mark.parametrize("subject", INVERTED, ids=lambda each: each.name)
def test_every_block_is_cut_in_parts(subject: Subject, tmp_path: Path) -> None:
    counts = counts_after(subject, tmp_path)
    assert counts["Add"] >= 1
    assert counts["Conv"] >= 1 + 2 * 3


@pytest.mark.parametrize("subject", WINOGRAD, ids=lambda each: each.name)
def test_every_convolution_of_a_subject_is_rewritten(subject: Subject, tmp_path: Path) -> None:
    counts = counts_after(subject, tmp_path)
    assert (
        sum(counts.get(f"modelkit.WinogradConv{end}", 0) for end in ("", "Relu", "OpenRelu")) == 2
    )
