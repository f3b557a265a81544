import json
from pathlib import Path

import numpy as np
import pytest

from modelkit.benchmark import bench_files
from modelkit.errors import BadInput, CheckFailed, UsageError
from modelkit.reports import from_json
from tests.models import linear_text, model_file


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    text = linear_text(128, 512)
    slow = text.replace("y = Add(m, b)", "e = Erf(m) f = Erf(e) h = Erf(f) y = Add(h, b)")
    return [
        str(model_file(tmp_path / "fast.onnx", text)),
        str(model_file(tmp_path / "slow.onnx", slow)),
    ]


def test_rows_in_order_with_their_figures(models: list[str]) -> None:
    report = bench_files(models, runs=24, dims={"n": 64})
    assert [row.name for row in report.rows] == ["fast.onnx", "slow.onnx"]
    first, second = report.rows
    assert first.runs == 24
    assert 0 < first.median_ms <= first.p90_ms <= first.p95_ms <= first.p99_ms
    assert second.speedup.high < 1
    assert report.shapes == {"x": [64, 128]}


def test_a_provider_that_is_missing_is_a_row_and_the_others_run(models: list[str]) -> None:
    report = bench_files(models[:1], providers="cuda,cpu", runs=6)
    assert [bool(row.error) for row in report.rows] == [False, True]
    assert "'cuda' is not in" in report.rows[1].error


def test_too_slow_is_a_failed_check(models: list[str]) -> None:
    with pytest.raises(CheckFailed, match="x the speed of"):
        bench_files(models, runs=24, dims={"n": 64}, fail_if_slower="5%")
    bench_files(models[::-1], runs=24, dims={"n": 64}, fail_if_slower="5%")


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
    with pytest.raises(UsageError, match="another machine"):
        bench_files(models, runs=6, baseline=str(kept))
    kept.write_text("{")
    with pytest.raises(BadInput, match="no kept figures"):
        bench_files(models, runs=6, baseline=str(kept))


def test_a_bad_percentage_or_axis_is_a_usage_error(models: list[str]) -> None:
    with pytest.raises(UsageError, match="no percentage"):
        bench_files(models, runs=6, fail_if_slower="much")
    with pytest.raises(UsageError, match="no dynamic axis"):
        bench_files(models, runs=6, dims={"batch": 2})


def test_real_inputs_add_the_quality_against_the_first_row(
    models: list[str], tmp_path: Path
) -> None:
    np.save(tmp_path / "d.npy", np.random.default_rng(0).standard_normal((30, 128)).astype("f4"))
    same, other = bench_files(
        [models[0], models[0], models[1]], runs=6, eval_data=str(tmp_path / "d.npy")
    ).rows[1:]
    assert same.quality is not None
    assert other.quality is not None
    assert same.quality.cosine == pytest.approx(1.0)
    assert same.quality.top10 == 1.0
    assert other.quality.sqnr < 20
