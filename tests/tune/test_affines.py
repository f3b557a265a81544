from pathlib import Path

import pytest

from modelkit.tune.affines import AFFINES
from modelkit.tune.subjects import Subject
from tests.tune.harness import counts_after


@pytest.mark.parametrize("subject", AFFINES, ids=lambda each: f"{each.fusion} {each.name}")
def test_both_layers_of_a_subject_are_rewritten(subject: Subject, tmp_path: Path) -> None:
    counts = counts_after(subject, tmp_path)
    operators, number = {
        "affine_as_conv": (("Mul", "Add"), 2),
        "affine_before_conv": (("Mul", "Add"), 2),
        "activation_as_rows": (("Transpose",), 4),
        "residual_gate": (("Mul",), 4),
        "matmul_shift": (("Add",), 8),
        "reduce_in_steps": (("ReduceMean",), 2),
        "norm_of_map": (("ReduceMean", "Sqrt", "GlobalAveragePool"), 2),
    }[subject.fusion]
    assert all(counts[operator] == number for operator in operators)
