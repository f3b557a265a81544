from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.errors import CheckFailed
from modelkit.model import load
from modelkit.precision import fp16_file
from modelkit.precision.mixed import Found, Search, find_float_nodes, outputs_of, rank
from modelkit.precision.narrow import HALVES
from modelkit.precision.plan import Evidence, Wishes
from modelkit.precision.prepare import prepared
from modelkit.runtime.compare import Tolerance
from tests.models import Feeds, model_file

# The second pair of operators loses what half cannot hold beside 300; the rest is harmless.
CANCELS = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 16] x) => (float[n, 16] y) <float[16, 16] v, float[16, 16] w, float large = {300.0}>
{ [one] a = MatMul(x, v) [two] b = Tanh(a) [up] c = Add(b, large) [down] d = Sub(c, large)
  [three] e = Mul(d, d) [four] y = MatMul(e, w) }"""


def search(path: Path, goal: float) -> Search:
    feeds: Feeds = {"x": np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)}
    model = prepared(load(path), HALVES["fp16"])
    return Search(
        model=model,
        half=HALVES["fp16"],
        evidence=Evidence(),
        wishes=Wishes(),
        ranges={},
        tolerance=Tolerance("sqnr", goal, 0.99),
        trials=[feeds],
        expected=outputs_of(load(path), [feeds]),
    )


def test_the_few_nodes_that_matter_are_found(tmp_path: Path) -> None:
    found = find_float_nodes(search(model_file(tmp_path / "m.onnx", CANCELS), 50))
    assert found.names <= {"up", "down"} and found.names and found.smallest
    assert "none can be left out" in found.note()


def test_leaving_out_any_of_them_misses_the_goal(tmp_path: Path) -> None:
    subject = search(model_file(tmp_path / "m.onnx", CANCELS), 66)
    found = find_float_nodes(subject)
    assert found.names and found.smallest and subject.meets(found.names)
    for name in found.names:
        rest = found.names - {name}
        assert not rest or not subject.meets(rest)


def test_nothing_is_kept_where_half_is_enough(tmp_path: Path) -> None:
    found = find_float_nodes(search(model_file(tmp_path / "m.onnx", CANCELS), 5))
    assert found == Found(frozenset(), 1, True)


def test_nodes_are_ranked_by_the_noise_they_add(tmp_path: Path) -> None:
    """ "up" rounds, which shows at "down", where it cancels; "three" doubles it."""
    assert {"up", "down"} <= set(rank(search(model_file(tmp_path / "m.onnx", CANCELS), 50))[:3])


def test_a_node_that_overflows_comes_first(tmp_path: Path) -> None:
    text = CANCELS.replace("{300.0}", "{60000.0}").replace("[three] e = Mul(d, d)", "f = Add(c, c) h = Sub(f, c) [three] e = Sub(h, large)")  # fmt: skip
    subject = search(model_file(tmp_path / "m.onnx", text), 20)
    first = rank(subject)[0]
    (node,) = [node for node in subject.model.graph if node.name == first]
    assert node.outputs[0].name == "f"


def test_a_goal_beyond_float_is_refused(tmp_path: Path) -> None:
    subject = search(model_file(tmp_path / "m.onnx", CANCELS), 50)
    noisy = [{"y": value["y"] * 1.01} for value in subject.expected]
    with pytest.raises(CheckFailed, match="every node in float"):
        find_float_nodes(replace(subject, expected=noisy))


def test_the_verb_reaches_a_goal_that_half_alone_misses(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", CANCELS)
    with pytest.raises(CheckFailed, match="fp16"):
        fp16_file(str(source), measure=False)
    report = fp16_file(str(source), mixed=True, measure=False)
    assert report.verification.passed and report.in_half
    assert any("costs too much accuracy" in skip.reason for skip in report.kept)
    assert any(note.startswith("mixed precision: ") for note in report.notes)
    half = onnx.load(report.written)
    assert any(t.data_type == onnx.TensorProto.FLOAT16 for t in half.graph.initializer)


def test_the_largest_error_is_a_goal_too(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", CANCELS)
    report = fp16_file(str(source), mixed=True, max_error=0.003, measure=False)
    worst = report.verification.worst
    assert worst is not None and worst.metric == "relative" and worst.value <= 0.003
