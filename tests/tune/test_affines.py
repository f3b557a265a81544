from pathlib import Path

import pytest

from modelkit.tune.affines import AFFINES
from modelkit.tune.subjects import Subject
from tests.tune.harness import counts_after


@pytest.mark.parametrize("subject", AFFINES, ids=lambda each: f"{each.fusion} {each.name}")
def test_both_layers_of_a_subject_are_rewritten(subject: Subject, tmp_path: Path) -> None:
    counts = counts_after(subject, tmp_path)
    if subject.fusion == "affine_as_conv":
        assert counts["Conv"] == 2 * 4
        assert counts["Mul"] == counts["Add"] == 2
    else:
        assert (counts["Transpose"], counts["Gelu"]) == (4, 2)
