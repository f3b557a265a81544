import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkit.benchmark import bench_files
from modelkit.errors import BadInput, CannotWrite, CheckFailed, ProviderMissing, UsageError
from modelkit.reports import from_json
from tests.models import linear_text, model_file

FACTORY = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Linear(128, 64), torch.nn.ReLU())
"""


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    text = linear_text(128, 512)
    slow = text.replace("y = Add(m, b)", "e = Erf(m) f = Erf(e) h = Erf(f) y = Add(h, b)")
    return [
        str(model_file(tmp_path / "fast.onnx", text)),
        str(model_file(tmp_path / "slow.onnx", slow)),
    ]


def test_rows_in_order_with_their_figures(models: list[str]) -> None:
    report = bench_files(models, runs=24, dims={"n": [64]})
    assert [row.name for row in report.points[0].rows] == ["fast.onnx", "slow.onnx"]
    first, second = report.points[0].rows
    assert first.runs == 24
    assert 0 < first.median_ms <= first.p90_ms <= first.p95_ms <= first.p99_ms
    assert second.speedup.high < 1
    assert report.points[0].shapes == {"x": [64, 128]}


def test_a_provider_that_is_missing_is_a_row_and_the_others_run(models: list[str]) -> None:
    report = bench_files(models[:1], providers="cuda,cpu", runs=6)
    assert [bool(row.error) for row in report.points[0].rows] == [False, True]
    assert "'cuda' is not in" in report.points[0].rows[1].error


def test_too_slow_is_a_failed_check(models: list[str]) -> None:
    with pytest.raises(CheckFailed, match="x the speed of"):
        bench_files(models, runs=24, dims={"n": [64]}, fail_if_slower="5%")
    bench_files(models[::-1], runs=24, dims={"n": [64]}, fail_if_slower="5%")


def test_figures_are_kept_and_compared_on_the_same_machine_only(
    models: list[str], tmp_path: Path
) -> None:
    kept = tmp_path / "base.json"
    bench_files(models, runs=6, save=str(kept))
    report = bench_files(models, runs=6, baseline=str(kept))
    assert sum("its baseline" in note for note in report.notes) == 2
    fields = json.loads(kept.read_text())
    assert from_json(fields).machine == report.machine
    kept.write_text(json.dumps({**fields, "machine": "another"}))
    with pytest.raises(UsageError, match="differ in machine"):
        bench_files(models, runs=6, baseline=str(kept))
    kept.write_text("{")
    with pytest.raises(BadInput, match="no kept figures"):
        bench_files(models, runs=6, baseline=str(kept))


def test_a_bad_percentage_or_axis_is_a_usage_error(models: list[str]) -> None:
    with pytest.raises(UsageError, match="no percentage"):
        bench_files(models, runs=6, fail_if_slower="much")
    with pytest.raises(UsageError, match="no dynamic axis"):
        bench_files(models, runs=6, dims={"batch": [2]})


def test_real_inputs_add_the_quality_against_the_first_row(
    models: list[str], tmp_path: Path
) -> None:
    np.save(tmp_path / "d.npy", np.random.default_rng(0).standard_normal((30, 128)).astype("f4"))
    same, other = (
        bench_files([models[0], models[0], models[1]], runs=6, eval_data=str(tmp_path / "d.npy"))
        .points[0]
        .rows[1:]
    )
    assert same.quality is not None
    assert other.quality is not None
    assert same.quality.cosine == pytest.approx(1.0)
    assert same.quality.top10 == 1.0
    assert other.quality.sqnr < 20


def test_a_row_without_a_provider_alone_is_a_missing_provider(models: list[str]) -> None:
    with pytest.raises(ProviderMissing, match="no row"):
        bench_files(models[:1], providers="cuda", runs=6)


def test_a_model_of_other_inputs_is_refused_by_name(models: list[str], tmp_path: Path) -> None:
    text = linear_text(128, 512).replace("(float[n, 128] x)", "(float[n, 128] z)")
    other = model_file(tmp_path / "other.onnx", text.replace("MatMul(x, w)", "MatMul(z, w)"))
    with pytest.raises(UsageError, match=r"other\.onnx does not take the inputs") as caught:
        bench_files([models[0], str(other)], runs=6)
    assert "'x'" in caught.value.cause


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("runtime", "ONNX Runtime 0.1"),
        ("threads", 7),
        ("options", {"graph-level": "none"}),
    ],
)
def test_kept_figures_of_another_setting_are_refused(
    models: list[str], tmp_path: Path, field: str, value: object
) -> None:
    kept = tmp_path / "base.json"
    bench_files(models[:1], runs=6, save=str(kept))
    kept.write_text(json.dumps({**json.loads(kept.read_text()), field: value}))
    with pytest.raises(UsageError, match=f"differ in {field}"):
        bench_files(models[:1], runs=6, baseline=str(kept))


def test_one_model_is_held_to_its_kept_figure(models: list[str], tmp_path: Path) -> None:
    kept = tmp_path / "base.json"
    bench_files(models[:1], runs=24, dims={"n": [64]}, save=str(kept))
    fields = json.loads(kept.read_text())
    fields["points"][0]["rows"][0]["cpu_ms"] /= 3
    kept.write_text(json.dumps(fields))
    with pytest.raises(CheckFailed, match="speed of its baseline"):
        bench_files(models[:1], runs=24, dims={"n": [64]}, baseline=str(kept), fail_if_slower="5%")
    fields["points"][0]["rows"][0]["cpu_ms"] *= 30
    kept.write_text(json.dumps(fields))
    bench_files(models[:1], runs=24, dims={"n": [64]}, baseline=str(kept), fail_if_slower="5%")


@pytest.mark.parametrize("text", ["[1]", '"x"', "{}", '{"kind": "Any"}', "[" * 100_000])
def test_a_baseline_that_is_none_is_refused_before_measuring(
    models: list[str], tmp_path: Path, text: str
) -> None:
    kept = tmp_path / "base.json"
    kept.write_text(text)
    with pytest.raises(BadInput, match="no kept figures"):
        bench_files(models, duration=1e6, baseline=str(kept))


def test_save_replaces_kept_figures_and_nothing_else(models: list[str], tmp_path: Path) -> None:
    kept = tmp_path / "base.json"
    for _ in range(2):
        bench_files(models[:1], runs=6, save=str(kept))
    before = Path(models[0]).read_bytes()
    for place in (models[0], str(tmp_path), str(tmp_path / "no" / "base.json")):
        with pytest.raises(CannotWrite):
            bench_files(models[:1], duration=1e6, save=place)
    assert Path(models[0]).read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("option", ["runs", "duration", "warmup", "concurrency"])
def test_numbers_below_zero_are_refused(models: list[str], option: str) -> None:
    numbers: dict[str, Any] = {option: -1}
    with pytest.raises(UsageError, match="makes no sense"):
        bench_files(models, **numbers)


@pytest.mark.parametrize("text", ["nan", "inf%", "-5%"])
def test_a_percentage_is_a_number_from_zero_on(models: list[str], text: str) -> None:
    with pytest.raises(UsageError, match="no percentage"):
        bench_files(models, runs=6, fail_if_slower=text)


def test_the_note_says_which_time_the_speed_ups_compare(models: list[str]) -> None:
    for threads, kind in ((1, "CPU"), (2, "wall")):
        notes = bench_files(models, runs=6, threads=threads).notes
        assert any(f"speed-ups compare {kind} time" in note for note in notes)


def test_models_of_one_name_are_told_apart(models: list[str], tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    twin = model_file(tmp_path / "b" / "fast.onnx", linear_text(128, 512))
    names = [row.name for row in bench_files([models[0], str(twin)], runs=6).points[0].rows]
    assert names == [models[0], str(twin)]


def test_a_torch_module_is_a_row_on_the_threads_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    (tmp_path / "factory_for_bench.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = """<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 128] input) => (float[n, 128] y) { y = Relu(input) }"""
    model = model_file(tmp_path / "relu.onnx", text)
    report = bench_files([str(model)], against="factory_for_bench:build", runs=12)
    assert [row.provider for row in report.points[0].rows] == ["eager", "cpu"]
    assert report.points[0].rows[0].runs == 12
    assert report.points[0].rows[0].peak_mb == 0
    assert torch.get_num_threads() == 1


def test_every_combination_of_lengths_is_a_point(models: list[str], tmp_path: Path) -> None:
    text = linear_text(128, 512).replace("n, 128", "n, t, 128").replace("n, 512", "n, t, 512")
    model = model_file(tmp_path / "two.onnx", text)
    report = bench_files([str(model)], runs=6, dims={"n": [1, 4], "t": [2, 3]})
    assert [point.dims for point in report.points] == [
        {"n": 1, "t": 2}, {"n": 1, "t": 3}, {"n": 4, "t": 2}, {"n": 4, "t": 3},
    ]  # fmt: skip
    assert [point.items for point in report.points] == [1, 1, 4, 4]
    assert report.points[3].shapes == {"x": [4, 3, 128]}
    with pytest.raises(UsageError, match="combinations"):
        bench_files([str(model)], dims={"n": list(range(1, 20)), "t": list(range(1, 20))})


def test_another_size_than_the_kept_one_is_refused(models: list[str], tmp_path: Path) -> None:
    kept = tmp_path / "base.json"
    bench_files(models[:1], runs=6, dims={"n": [2]}, save=str(kept))
    with pytest.raises(UsageError, match="differ in shapes"):
        bench_files(models[:1], runs=6, dims={"n": [3]}, baseline=str(kept))


def test_profile_roofline_and_throughput_on_request(models: list[str]) -> None:
    report = bench_files(
        models, runs=6, dims={"n": [64]}, profile=True, roofline=True, concurrency=2, duration=0.05
    )
    assert [profile.name for profile in report.profiles] == ["fast.onnx", "slow.onnx"]
    assert "Erf" in {node.op for node in report.profiles[1].nodes}
    assert report.roof is not None
    assert report.roof.model_flops == pytest.approx(2 * 64 * 128 * 512, rel=0.02)
    for row in report.points[0].rows:
        assert row.roofline is not None
        assert 0 < row.roofline < 3
        assert row.throughput > 0


def test_a_provider_that_drops_out_is_a_row_not_run(models: list[str]) -> None:
    # ONNX Runtime's wheel lists azure, opens a session on it, and runs every node on the CPU.
    report = bench_files(models[:1], providers="cpu,azure", runs=6)
    here, there = report.points[0].rows
    assert not here.error
    assert "azure carries 0% of the arithmetic" in there.error
    allowed = bench_files(models[:1], providers="azure", runs=6, allow_fallback=True)
    placement = allowed.points[0].rows[0].placement
    assert placement is not None
    assert (placement.nodes, placement.offloaded) == ({"cpu": 1}, 0)


def test_io_binding_gives_the_same_table(models: list[str]) -> None:
    report = bench_files(models, runs=6, io_binding=True)
    assert all(row.median_ms > 0 for row in report.points[0].rows)


def test_what_runs_on_no_generated_inputs_is_timed_on_real_ones(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[b, c] x) => (float[b, 3] y)
    <float[5, 3] w> { y = MatMul(x, w) }"""
    path = str(model_file(tmp_path / "m.onnx", text))
    np.savez(tmp_path / "x.npz", x=np.ones((2, 5), np.float32))
    report = bench_files([path], duration=0.1, eval_data=str(tmp_path / "x.npz"))
    assert report.points[0].shapes == {"x": [2, 5]}
