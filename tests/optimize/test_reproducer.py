from pathlib import Path

import numpy as np
import pytest

from modelkit import passes
from modelkit.model import Model, clone, load
from modelkit.optimize import optimize_file
from modelkit.optimize.reproducer import reproducer
from modelkit.passes.changes import Changes
from tests.models import model_file
from tests.passes.harness import model_of, normal, ops

CHAIN = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 4] x) => (float[n, 4] y) {
  a = Relu(x) b = Neg(a) c = Abs(b) d = Exp(c) e = Sqrt(d) f = Sin(e) h = Tanh(f) y = Neg(h)
}"""


def confuse(model: Model) -> Changes:
    """Make Sqrt of Exp an Exp, which is wrong."""
    count = 0
    for node in model.graph:
        maker = node.inputs[0].producer() if node.inputs[0] is not None else None
        if node.op_type == "Sqrt" and maker is not None and maker.op_type == "Exp":
            node.op_type = "Exp"
            count += 1
    return Changes(count)


def rewrite(model: Model) -> Model:
    copy = clone(model)
    confuse(copy)
    return copy


def test_the_two_nodes_that_show_it_are_found(tmp_path: Path) -> None:
    part = reproducer(model_of(CHAIN), {"x": normal(2, 4)}, rewrite, tmp_path)
    assert part is not None
    assert ops(part) == {"Exp": 1, "Sqrt": 1}
    assert [value.name for value in part.graph.inputs] == ["c"]


def test_a_rewrite_that_spoils_nothing_has_none(tmp_path: Path) -> None:
    assert reproducer(model_of(CHAIN), {"x": normal(2, 4)}, clone, tmp_path) is None


@pytest.mark.parametrize("check", [False, True])
def test_optimize_leaves_it_out_and_writes_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    monkeypatch.setitem(passes.LEVELS, "basic", (confuse, *passes.BASIC))
    source = model_file(tmp_path / "m.onnx", CHAIN)
    report = optimize_file(str(source), measure=False, level="basic", check=check)
    assert report.verification.passed
    assert any(note.startswith("confuse left out: with it ") for note in report.notes)
    place = tmp_path / "m.opt.confuse.reproducer.onnx"
    assert ops(load(place)) == {"Exp": 1, "Sqrt": 1}
    assert any(str(place) in note and "--only confuse" in note for note in report.notes)
    assert np.array_equal(sorted(ops(load(Path(report.written)))), sorted(ops(load(source))))
