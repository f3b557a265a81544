from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from modelkit import optimize as module
from modelkit import passes
from modelkit.errors import CannotWrite, CheckFailed, UsageError
from modelkit.model import Model, history, load, save
from modelkit.optimize import describe, optimize, optimize_file
from modelkit.passes.changes import Changes
from modelkit.reports import Interval, SpeedVerdict
from tests.models import model_file
from tests.passes.harness import check, model_of, normal, ops

GELU = """<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 4] x) => (float[batch, 4] y)
<float half = {0.5}, float one = {1.0}, float root = {1.4142135623730951}> {
  i = Identity(x)
  a = Div(i, root)
  b = Erf(a)
  c = Add(b, one)
  d = Mul(i, c)
  y = Mul(d, half)
}"""
TRIALS = ({"x": normal(3, 4)}, {"x": normal(1, 4, seed=1)})


SLOWER = SpeedVerdict(Interval(0.9, 0.89, 0.91), False, "slower than the source")


def judge(monkeypatch: pytest.MonkeyPatch, *verdicts: SpeedVerdict) -> None:
    """Let the speed gate give these verdicts, one after the other."""
    given = iter(verdicts)
    monkeypatch.setattr("modelkit.deliver.gate", lambda *_, **__: next(given))
    monkeypatch.setattr("modelkit.deliver.usable_cores", lambda: 2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save(model_of(GELU), tmp_path / "m.onnx")


def double(model: Model) -> Changes:
    """Let Erf read the input, which is wrong."""
    done = 0
    for node in model.graph:
        if node.op_type == "Erf" and node.inputs[0] is not model.graph.inputs[0]:
            node.replace_input_with(0, model.graph.inputs[0])
            done += 1
    return Changes(done)


def negate(model: Model) -> Changes:
    """Square a factor, which is wrong."""
    for node in model.graph:
        if node.op_type == "Mul" and node.inputs[1] is not node.inputs[0]:
            node.replace_input_with(1, node.inputs[0])
            return Changes(1)
    return Changes()


def plant(monkeypatch: pytest.MonkeyPatch, *wrong: passes.Pass) -> None:
    levels = dict.fromkeys(passes.LEVELS, (*wrong, *passes.BASIC))
    for level, planted in levels.items():
        monkeypatch.setitem(passes.LEVELS, level, planted)


@pytest.mark.parametrize(
    ("level", "operator", "opset"),
    [("basic", "Erf", 17), ("extended", "Gelu", 23), ("all", "Gelu", 23)],
)
def test_each_level_computes_the_same(level: str, operator: str, opset: int) -> None:
    model = model_of(GELU)
    done = optimize(model, level=level)
    assert operator in ops(done.model)
    assert "Identity" not in ops(done.model)
    assert done.model.opset_imports[""] == opset
    assert ops(model)["Identity"] == 1
    check(done.model, *TRIALS, exact=False, before=model)


def test_the_target_of_any_runtime_keeps_the_opset() -> None:
    assert optimize(model_of(GELU), target="any").model.opset_imports[""] == 17


def test_skip_and_only_choose_by_name() -> None:
    assert "Erf" in ops(optimize(model_of(GELU), skip=["gelu_erf"]).model)
    assert "Identity" in ops(
        optimize(model_of(GELU), skip=["remove_identity"], level="basic").model
    )
    only = optimize(model_of(GELU), only=["gelu_erf"])
    assert {change.name for change in only.changes} == {"gelu_erf"}
    assert ops(only.model)["Identity"] == 1


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"level": "bsic"}, "did you mean 'basic'?"),
        ({"only": ["gelu_erff"]}, "did you mean 'gelu_erf'?"),
        ({"skip": ["remove_identitty"]}, "did you mean 'remove_identity'?"),
        ({"target": "cpuu"}, "did you mean 'cpu'?"),
    ],
)
def test_unknown_names_are_usage_errors(options: dict, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        optimize(model_of(GELU), **options)
    assert caught.value.hint == hint


def test_every_pass_and_fusion_describes_itself() -> None:
    names = describe()
    assert {"fold_constants", "gelu_erf"} <= set(names)
    assert all(names.values())


def test_a_file_is_rewritten_beside_its_source(source: Path) -> None:
    report = optimize_file(str(source), measure=False)
    assert report.written == str(source.with_name("m.opt.onnx"))
    assert report.verification.passed
    assert len({str(trial.shapes) for trial in report.verification.trials}) >= 2
    assert (report.operators_before["Erf"], report.operators_after["Gelu"]) == (1, 1)
    assert report.source.nodes == 6
    (step,) = history(load(Path(report.written)))
    assert step["verb"] == "optimize"
    assert "gelu_erf x1" in step["decisions"]


def test_the_same_again_is_up_to_date_and_other_options_are_not(source: Path) -> None:
    first = optimize_file(str(source), measure=False)
    data = Path(first.written).read_bytes()
    again = optimize_file(str(source), measure=False)
    assert (again.up_to_date, again.written) == (True, first.written)
    with pytest.raises(CannotWrite):
        optimize_file(str(source), measure=False, level="basic")
    other = optimize_file(str(source), measure=False, level="basic", force=True)
    assert not other.up_to_date
    optimize_file(str(source), measure=False, force=True)
    assert Path(first.written).read_bytes() == data


def test_a_dry_run_writes_nothing(source: Path) -> None:
    report = optimize_file(str(source), measure=False, dry_run=True)
    assert report.written == ""
    assert [path.name for path in source.parent.iterdir()] == ["m.onnx"]


def test_one_wrong_pass_is_found_and_left_out(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, negate)
    report = optimize_file(str(source), measure=False, level="basic")
    assert report.verification.passed
    assert any(note.startswith("negate left out: with it ") for note in report.notes)
    check(load(Path(report.written)), *TRIALS, exact=False, before=model_of(GELU))


def test_when_leaving_one_out_does_not_help_nothing_is_written(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, negate, double)
    with pytest.raises(CheckFailed) as caught:
        optimize_file(str(source), measure=False, level="basic")
    assert caught.value.code == "outputs-differ"
    assert [path.name for path in source.parent.iterdir()] == ["m.onnx"]


def test_slower_levels_step_back_until_one_is_not(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, SLOWER, SpeedVerdict(None, True, "even"))
    report = optimize_file(str(source))
    assert report.level == "basic"
    assert report.notes == ("level all stepped back: slower than the source (0.90x)",)
    assert "Erf" in report.operators_after


EVEN = SpeedVerdict(None, True, "even")
FASTER = SpeedVerdict(Interval(1.31, 1.3, 1.32), True, "1 thread, CPU time, 12 session pairs")
BEHIND = SpeedVerdict(Interval(0.85, 0.84, 0.86), False, "slower than the source on 2 threads")
SIGNAL = """<ir_version: 10, opset_import: ["": 20]> g (float[n, 64, s] x) => (float[n, 64, t] y)
<float[64, 64, 3] w, float[64] b> { c = Conv(x, w, b) y = Relu(c) }"""


def test_what_loses_on_more_threads_is_left_out_where_it_would_be_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, FASTER, BEHIND, EVEN)
    path = model_file(tmp_path / "m.onnx", SIGNAL)
    report = optimize_file(str(path))
    reason = "slower than the source on 2 threads (0.85x; on 1 thread 1.31x); --intra-op 1 keeps it"
    assert report.notes[0] == f"level all stepped back: {reason}"
    assert {"narrow_conv1d_as_image"} == {miss.fusion for miss in report.near_misses}
    assert "on 2 threads)" in report.near_misses[0].reason
    judge(monkeypatch, FASTER)
    alone = optimize_file(str(path), intra_op=1, force=True)
    assert (alone.speed, alone.notes) == (FASTER, ())
    assert "narrow_conv1d_as_image" in {change.name for change in alone.changes}
    judge(monkeypatch, EVEN)
    many = optimize_file(str(path), intra_op=8, force=True)
    assert (many.level, many.notes) == ("all", ())
    assert many.operators_after == report.operators_after


def test_the_same_model_for_other_threads_is_another_result(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, *repeat(EVEN, 2))
    optimize_file(str(source))
    assert optimize_file(str(source)).up_to_date
    with pytest.raises(CannotWrite):
        optimize_file(str(source), intra_op=1)


LINEAR = """<ir_version: 10, opset_import: ["": 20]> g (float[n, s, 256] x) => (float[n, s, m] y)
<float[256, 512] w, float[512] b, float one = {1.0}, float root = {1.4142135623730951},
 float half = {0.5}> {
  p = MatMul(x, w) z = Add(b, p) a = Div(z, root) e = Erf(a) c = Add(e, one) d = Mul(z, c)
  y = Mul(d, half) }"""


def test_before_a_level_is_given_up_its_sure_gains_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, SLOWER, SpeedVerdict(None, True, "even"))
    report = optimize_file(str(model_file(tmp_path / "m.onnx", LINEAR)))
    assert report.level == "all"
    assert report.notes[0] == "level all stepped back: slower than the source (0.90x)"
    assert {"MatMul", "Gelu"} <= set(report.operators_after)
    assert "Conv" not in report.operators_after
    reasons = {miss.fusion: miss.reason for miss in report.near_misses}
    assert "gains too little on target cpu to be sure" in reasons["linear_as_conv"]


@pytest.mark.parametrize(
    ("here", "level", "expected"),
    [
        ("x86-64 avx512", "all", ""),
        ("arm64", "all", "x86-64 avx512, not arm64; nothing was timed here"),
        ("arm64", "basic", ""),
    ],
)
def test_a_table_of_another_machine_is_named(
    source: Path, here: str, level: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "instruction_set", lambda: here)
    monkeypatch.setattr(module, "version", lambda: "1.31.7")
    report = optimize_file(str(source), level=level, measure=False, dry_run=True)
    told = [note for note in report.notes if note.startswith("what pays on target cpu")]
    assert len(told) == bool(expected)
    assert all(expected in note for note in told)


def test_the_original_is_delivered_when_every_level_is_slower(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, *repeat(SLOWER, 9))
    report = optimize_file(str(source))
    assert report.level == module.ORIGINAL
    assert report.operators_after == report.operators_before
    assert report.changes == ()
    assert Path(report.written).is_file()


def test_what_the_runtime_spoils_is_healed_whatever_it_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, *repeat(SLOWER, 9))
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 2, 8, 8] x) => (float[n, 2, a, b] y)
    <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}> {
    e = Exp(x) m = Neg(e) q = Pad(m, p) y = MaxPool<kernel_shape=[3, 3]>(q) }"""
    report = optimize_file(str(save(model_of(text), tmp_path / "m.onnx")))
    assert report.level == "basic"
    assert [change.name for change in report.changes if change.count] == ["pad_before_pool"]
    assert report.verification.passed
    assert "spoil the model as it was" in report.speed.reason


@pytest.fixture
def picky(tmp_path: Path) -> Path:
    """A model whose open axes say nothing of the only length that runs."""
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[b, c] x) => (float[b, 3] y)
    <float[5, 3] w> { i = Identity(x) y = MatMul(i, w) }"""
    return model_file(tmp_path / "m.onnx", text)


def test_real_inputs_take_the_place_of_generated_ones(picky: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "o.onnx")
    with pytest.raises(CheckFailed, match="no generated inputs") as caught:
        optimize_file(str(picky), place)
    assert "--eval-data (optimize" in caught.value.hint
    np.savez(tmp_path / "x.npz", x=normal(2, 5))
    report = optimize_file(str(picky), place, eval_data=str(tmp_path / "x.npz"), check=True)
    assert report.verification.inputs == "samples of x.npz"
    assert report.verification.trials[0].shapes == {"x": [2, 5]}
    assert report.written == place
    assert optimize_file(str(picky), place, eval_data=str(tmp_path / "x.npz")).up_to_date
    np.savez(tmp_path / "z.npz", x=normal(3, 5))
    with pytest.raises(CannotWrite, match="exists"):
        optimize_file(str(picky), place, eval_data=str(tmp_path / "z.npz"))


def test_real_inputs_are_for_the_model_as_it_is(picky: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=normal(2, 5))
    data = str(tmp_path / "x.npz")
    with pytest.raises(UsageError, match="--eval-data"):
        optimize_file(str(picky), eval_data=data, extract="x..y")
    with pytest.raises(UsageError, match="--resize"):
        optimize_file(str(picky), preprocessing={"resize": "8x8"})
    report = optimize_file(str(picky), eval_data=data, dims={"c": 5}, dry_run=True)
    assert report.verification.passed
