"""The search as the command runs it."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_ir import Graph, Model

from modelkit.cli.page import page
from modelkit.errors import CheckFailed, UsageError
from modelkit.quantize import quantize_file
from modelkit.quantize.auto import Trial, Trials, _best
from modelkit.quantize.goal import Goal, Judge
from modelkit.quantize.modes import Made
from modelkit.quantize.outcome import Outcome
from modelkit.reports import Interval, Point, SpeedVerdict
from modelkit.runtime.bench import Samples
from tests.harness import floats
from tests.models import model_file

# Two hidden layers; channel 0 is so loud in the second that eight bits drown the others.
LOUD = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, 10] y)
    <float[64, 128] w, float[128] b, float[128, 128] v, float[128, 10] u> {
        p = MatMul(x, w) a = Add(p, b) r = Relu(a) s = MatMul(r, v) t = Relu(s) y = MatMul(t, u)
    }"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "samples"
    folder.mkdir()
    for seed in range(72):
        np.savez(folder / f"{seed:03}.npz", x=floats(4, 64, seed=seed))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = model_file(tmp_path / "m.onnx", LOUD)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "v":
            array = onnx.numpy_helper.to_array(tensor).copy()
            array[:, 0] *= 300
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, "v"))
        if tensor.name == "u":
            array = onnx.numpy_helper.to_array(tensor).copy()
            array[0] *= 1e-3
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, "u"))
    onnx.save(model, path)
    return path


def _race(monkeypatch: pytest.MonkeyPatch, seconds: float, slower: float) -> None:
    """Let the float model take ``seconds``, and all candidates ``slower`` times as long."""

    def interleave(candidates: list[Any], *_: object, **__: object) -> list[Samples]:
        times = [[seconds * (slower if number else 1)] * 3 for number in range(len(candidates))]
        return [Samples(wall=[each] * 6, cpu=[each] * 6) for each in times]

    monkeypatch.setattr(sys.modules["modelkit.quantize.auto"], "interleave", interleave)


def test_layers_fall_back_until_the_goal_is_met(tmp_path: Path, source: Path, data: Path) -> None:
    out = tmp_path / "out.onnx"
    report = quantize_file(
        str(source), str(out), mode="auto", min_sqnr=40.0, calib_data=str(data), smoothing=False,
        measure=False,
    )  # fmt: skip
    chosen = [point for point in report.points if point.chosen]
    assert len(chosen) == 1
    assert chosen[0].meets
    assert chosen[0].sqnr >= 40
    assert not report.points[0].meets  # all in eight bits
    assert chosen[0].name.endswith("in float")  # blocks were tried, and are not near enough
    assert any(point.name == "static, 3 finer" for point in report.points)
    assert 0 < chosen[0].kept < 3
    assert report.quantized == 3 - chosen[0].kept
    assert report.verification.passed
    assert "closeness against speed" not in page(report)  # nothing was timed


def test_blocks_come_before_float(tmp_path: Path, source: Path, data: Path) -> None:
    out = tmp_path / "out.onnx"
    report = quantize_file(
        str(source), str(out), mode="auto", min_sqnr=14.0, calib_data=str(data), smoothing=False,
        measure=False,
    )  # fmt: skip
    chosen = next(point for point in report.points if point.chosen)
    assert chosen.name.endswith("finer")
    operators = [node.op_type for node in onnx.load(out).graph.node]
    assert operators.count("MatMulNBits") == chosen.kept
    assert report.quantized == 3


def test_what_no_candidate_meets_is_refused_with_the_best(
    tmp_path: Path, source: Path, data: Path
) -> None:
    out = tmp_path / "out.onnx"
    with pytest.raises(CheckFailed) as caught:
        quantize_file(
            str(source), str(out), mode="auto", min_sqnr=90.0, calib_data=str(data), measure=False
        )
    assert caught.value.code == "goal-not-met"
    assert "the best is" in str(caught.value.hint)
    assert "static:" in str(caught.value.cause)
    assert not out.exists()


def test_labels_decide_where_there_are_some(tmp_path: Path, source: Path, data: Path) -> None:
    wanted = np.random.default_rng(0).integers(0, 10, 72 * 4)
    np.save(tmp_path / "labels.npy", wanted)
    arguments: dict[str, Any] = {
        "calib_data": str(data),
        "eval_data": str(data),
        "measure": False,
        "mode": "auto",
    }
    report = quantize_file(
        str(source), str(tmp_path / "o.onnx"), max_drop="30%", metric="top1",
        labels=str(tmp_path / "labels.npy"), **arguments,
    )  # fmt: skip
    assert all(point.drop is not None for point in report.points)
    (tmp_path / "short.json").write_text(json.dumps([1, 2, 3]))
    with pytest.raises(UsageError):
        quantize_file(
            str(source), str(tmp_path / "p.onnx"), max_drop="30%",
            labels=str(tmp_path / "short.json"), **arguments,
        )  # fmt: skip


def test_without_data_ranges_are_found_at_run_time(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", LOUD)
    report = quantize_file(
        str(path), str(tmp_path / "o.onnx"), mode="auto", min_agreement="90%", measure=False
    )
    assert [point.name for point in report.points if point.chosen] == ["dynamic"]
    assert any("generated" in note for note in report.notes)


def test_the_candidates_that_meet_are_timed_and_drawn(
    tmp_path: Path, source: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is timed here takes microseconds: the verdict on it is chance.
    _race(monkeypatch, 1e-3, slower=0.5)
    monkeypatch.setattr(
        "modelkit.deliver.gate", lambda *_, **__: SpeedVerdict(None, True, "not here")
    )
    report = quantize_file(
        str(source), str(tmp_path / "o.onnx"), mode="auto", min_agreement="50%",
        calib_data=str(data), dry_run=True,
    )  # fmt: skip
    assert all(point.ratio is not None for point in report.points)
    shown = page(report)
    assert "closeness against speed" in shown
    assert "noisiest of 3 layers" in shown


@pytest.mark.parametrize("name", ["min_sqnr", "labels", "metric"])
def test_a_goal_without_a_search_is_refused(source: Path, name: str) -> None:
    chosen: dict[str, Any] = {name: 30.0 if name == "min_sqnr" else "x.npy"}
    with pytest.raises(UsageError) as caught:
        quantize_file(str(source), mode="dynamic", **chosen)
    assert "--auto" in str(caught.value)


def test_an_lstm_is_tried_with_one_scale_for_all_gates_too(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[s, n, 20] x) => (float[s, 2, n, 24] y)
    <float[2, 96, 20] w, float[2, 96, 24] r, float[2, 192] b>
    { y = LSTM<hidden_size=24, direction="bidirectional">(x, w, r, b) }"""
    path = model_file(tmp_path / "m.onnx", text)
    folder = tmp_path / "samples"
    folder.mkdir()
    for seed in range(8):
        np.savez(folder / f"{seed}.npz", x=floats(6, 1, 20, seed=seed))
    report = quantize_file(
        str(path), str(tmp_path / "o.onnx"), mode="auto", min_sqnr=10.0, calib_data=str(folder),
        measure=False,
    )  # fmt: skip
    named = {point.name: point for point in report.points}
    coarse = "static, one scale for the states of an LSTM"
    assert set(named) == {"static", coarse, "dynamic"}
    assert named[coarse].bytes < named["static"].bytes
    assert next(point for point in report.points if point.chosen).meets


def test_what_is_slower_than_float_or_hardly_smaller_is_not_chosen(tmp_path: Path) -> None:
    def trial(name: str, size: int, ratio: Interval | None, *, gated: bool = True) -> Trial:
        point = Point(name, 30.0, None, None, size, 0, ratio, meets=True)
        made = Made(Model(Graph([], [], nodes=[]), ir_version=8), Outcome(), gated=gated)
        return Trial(point, made, tmp_path)

    judge = Judge(tmp_path, lambda: iter([]))
    trials = Trials(Goal("min_sqnr", 30.0), judge, tmp_path, 100)
    slow = Interval(0.8, 0.7, 0.9)
    trials.done = [
        trial("large", 95, None),
        trial("slow", 30, slow),
        trial("slow in blocks", 30, slow, gated=False),
        trial("not timed", 30, None),
        trial("fine", 30, Interval(0.99, 0.9, 1.1)),
    ]
    assert [each.point.name for each in trials.met] == ["not timed", "fine"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(20e-6, "less than 50 µs"), (20e-3, "keep the float model;")]
)
def test_where_all_are_slower_the_float_model_stays(
    tmp_path: Path, source: Path, data: Path, monkeypatch: pytest.MonkeyPatch, seconds: float,
    said: str,
) -> None:  # fmt: skip
    _race(monkeypatch, seconds, slower=1.2)
    out = tmp_path / "o.onnx"
    arguments: dict[str, Any] = {"mode": "auto", "min_sqnr": 10.0, "calib_data": str(data)}
    with pytest.raises(CheckFailed, match="is slower than") as caught:
        quantize_file(str(source), str(out), **arguments)
    assert "0.83x" in caught.value.cause
    assert "keep the float model" in caught.value.hint
    assert said in caught.value.hint
    assert not out.exists()
    assert quantize_file(str(source), str(out), measure=False, **arguments).written == str(out)


def test_of_those_alike_in_speed_the_closest_is_chosen(tmp_path: Path) -> None:
    def trial(name: str, sqnr: float, ratio: Interval) -> Trial:
        point = Point(name, sqnr, None, None, 20, 0, ratio, meets=True)
        made = Made(Model(Graph([], [], nodes=[]), ir_version=8), Outcome())
        return Trial(point, made, tmp_path)

    trials = Trials(Goal("min_sqnr", 26.0), Judge(tmp_path, lambda: iter([])), tmp_path, 100)
    trials.done = [
        trial("slower", 28.0, Interval(2.09, 2.07, 2.11)),
        trial("alike", 27.1, Interval(2.15, 2.13, 2.17)),
        trial("fastest", 26.9, Interval(2.18, 2.15, 2.21)),
    ]
    assert _best(trials, tmp_path).point.name == "alike"


def test_where_a_gain_is_asked_every_activation_is_smoothed(tmp_path: Path) -> None:
    # Between what one outlying channel costs with a thrifty smoothing and without.
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, 64] y)
    <float[64, 64] w, float[64, 64] v> { a = MatMul(x, w) r = Relu(a) y = MatMul(r, v) }"""
    path = model_file(tmp_path / "m.onnx", text)
    values = floats(256, 64) * np.where(np.arange(64) == 5, 6, 1).astype(np.float32)
    np.savez(tmp_path / "s.npz", x=values)
    arguments: dict[str, Any] = {"mode": "auto", "calib_data": str(tmp_path / "s.npz")}
    arguments |= {"measure": False, "force": True, "dry_run": True}
    found = {}
    for goal in (10.0, 60.0):
        try:
            report = quantize_file(str(path), min_sqnr=goal, **arguments)
        except CheckFailed as error:
            found[goal] = str(error.cause)
        else:
            found[goal] = " ".join(point.name for point in report.points)
    assert "smoothed throughout" not in found[10.0]
    assert "static, smoothed throughout" in found[60.0]


def test_a_model_without_layers_is_told_so(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 8] x) => (float[n, 8] y)'
    path = model_file(tmp_path / "m.onnx", f"{text} {{ y = Relu(x) }}")
    np.savez(tmp_path / "s.npz", x=floats(64, 8))
    with pytest.raises(CheckFailed, match="quantized"):
        quantize_file(str(path), mode="auto", min_sqnr=30.0, calib_data=str(tmp_path / "s.npz"))
