"""A sample of ``python -m tests.passes.node_cases``; ``make test-onnx`` runs them all."""

import subprocess
import sys

import pytest

from modelkit import passes
from modelkit.model import Model
from modelkit.model.walk import graphs
from modelkit.passes import LEVELS
from modelkit.passes.changes import Changes
from tests.passes.node_cases import prove


def test_what_runs_before_a_level_runs_and_matches_after_it() -> None:
    # In a process of its own: a case may stop it, and the last line then says which.
    done = subprocess.run(
        [sys.executable, "-m", "tests.passes.node_cases", "--every", "13", "--loud"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0, [*(line for line in lines if "WRONG" in line), lines[-1:]]
    variants, compared = (int(part.split()[0]) for part in lines[-1].split(",")[:2])
    assert variants > 200
    assert compared > 550


@pytest.mark.filterwarnings("ignore")
def test_the_proof_sees_a_wrong_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def confuse(model: Model) -> Changes:
        """Make every Add a Mul, which is wrong."""
        found = [node for graph in graphs(model) for node in graph if node.op_type == "Add"]
        for node in found:
            node.op_type = "Mul"
        return Changes(len(found))

    for level in LEVELS:
        monkeypatch.setitem(passes.LEVELS, level, (confuse,))
    wrong = prove(1, ("basic",), only="test_add").wrong
    assert any(line.startswith("test_add basic: outputs [0] differ") for line in wrong)
