from dataclasses import replace
from pathlib import Path

import pytest

from modelkit.benchmark import kept
from modelkit.errors import BadInput, CannotWrite, UsageError
from modelkit.reports import BenchPoint, BenchReport, BenchRow, Interval


def row(name: str, milliseconds: float, provider: str = "cpu") -> BenchRow:
    one = Interval(2.0, 1.9, 2.1)
    return BenchRow(name, provider, 1, milliseconds, 1, 1, 1, milliseconds, one, 9, 2, 3, 4)


def report(*rows: BenchRow, machine: str = "m", dims: dict[str, int] | None = None) -> BenchReport:
    point = BenchPoint(dims or {}, {"x": [1]}, 1, rows)
    return BenchReport(machine, "ONNX Runtime 1.31", 1, (point,))


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    made = report(row("a", 1))
    kept.save(made, tmp_path / "base.json")
    assert kept.read(tmp_path / "base.json") == made
    assert [p.name for p in tmp_path.iterdir()] == ["base.json"]


def test_speeds_are_kept_time_over_time() -> None:
    before, now = report(row("a", 2), row("b", 3)), report(row("a", 1), row("c", 3))
    assert kept.against_kept(now, before, wall=False) == [("a on cpu", 2.0)]


def test_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match="differ in machine"):
        kept.against_kept(report(row("a", 1)), report(row("a", 1), machine="n"), wall=True)


def test_machines_stand_side_by_side(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.json", "two.json")]
    kept.save(report(row("a", 2), row("b", 1), dims={"n": 8}), files[0])
    kept.save(report(row("a", 3), machine="other", dims={"n": 8}), files[1])
    found = kept.merge(files)
    assert [machine.split(",")[0] for machine in found.machines] == ["m", "other"]
    assert [(r.name, r.dims, r.median_ms) for r in found.rows] == [
        ("a", {"n": 8}, (2, 3)),
        ("b", {"n": 8}, (1, None)),
    ]
    assert found.rows[1].speedup == (2.0, None)


def test_merging_wants_something_in_common(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.json", "two.json")]
    kept.save(report(row("a", 2)), files[0])
    kept.save(report(row("b", 2)), files[1])
    with pytest.raises(UsageError, match="in common"):
        kept.merge(files)
    with pytest.raises(UsageError, match="two machines"):
        kept.merge(files[:1])
    files[1].write_text("{}")
    with pytest.raises(BadInput, match="no kept figures"):
        kept.merge(files)


def test_only_kept_figures_are_replaced(tmp_path: Path) -> None:
    place = tmp_path / "base.json"
    kept.check_place(place)
    place.write_text("mine")
    with pytest.raises(CannotWrite, match="holds no figures"):
        kept.check_place(place)
    kept.save(replace(report(row("a", 1))), place)
    kept.check_place(place)
