"""Against onnxconverter-common, where it is installed: what it gets right, we give the same."""

from pathlib import Path

import pytest

from tests.benchmarks.precision import judged

common = pytest.importorskip("onnxconverter_common")

# What its 1.16 turns into legal models of the right types that are right in half arithmetic too.
RIGHT = ("condition.dynamo", "if_capture", "large_norm.dynamo", "lstm", "tiny_variance.dynamo")


@pytest.mark.parametrize("case", RIGHT)
def test_where_both_are_right_ours_is_no_worse(case: str, tmp_path: Path) -> None:
    peer, own = (judged(name, case, tmp_path) for name in ("onnxconverter-common", "modelkit"))
    assert peer.verdict == own.verdict == "right"
    assert own.decibels > peer.decibels - 1
    assert own.size <= peer.size * 1.05


@pytest.mark.parametrize("case", ["large_rms.dynamo", "large_sums.dynamo"])
@pytest.mark.parametrize("name", ["onnxconverter-common", "auto_mixed_precision"])
def test_overflows_that_it_accepts_are_caught(name: str, case: str, tmp_path: Path) -> None:
    assert judged(name, case, tmp_path).verdict == "wrong in half"
    assert judged("modelkit", case, tmp_path).verdict == "right"
