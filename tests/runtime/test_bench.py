from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from modelkit.runtime.bench import (
    Candidate,
    Samples,
    gate,
    interleave,
    onnx_candidate,
    ratio,
)
from modelkit.runtime.session import Feeds, Run
from tests.models import linear_text, model_file


class FakeClock:
    """Time that passes only where a candidate says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def wall(self) -> float:
        return self.now

    def cpu(self) -> float:
        return self.now / 2


def candidate(clock: FakeClock, name: str, load: float, run: float, log: list[str]) -> Candidate:
    @contextmanager
    def opened() -> Iterator[Run]:
        log.append(f"open {name}")
        clock.now += load

        def function(feeds: Feeds) -> dict[str, np.ndarray]:
            clock.now += run
            return {}

        yield function
        log.append(f"close {name}")

    return Candidate(name, opened)


def test_known_latencies_in_known_statistics_out() -> None:
    clock = FakeClock()
    log: list[str] = []
    found = interleave(
        [candidate(clock, "a", 1.0, 0.2, log), candidate(clock, "b", 3.0, 0.1, log)],
        {},
        seconds=0,
        runs=12,
        clock=clock,
    )
    assert found[0].all_wall() == pytest.approx(np.full(12, 0.2))
    assert found[1].all_cpu() == pytest.approx(np.full(12, 0.05))
    assert found[1].load == pytest.approx([3.0] * 6)
    assert found[0].first == pytest.approx([0.2] * 6)
    interval = ratio(found[0], found[1])
    assert (interval.low, interval.median, interval.high) == pytest.approx((2.0, 2.0, 2.0))


def test_the_order_of_creation_alternates_and_all_are_closed() -> None:
    clock = FakeClock()
    log: list[str] = []
    interleave(
        [candidate(clock, "a", 1, 1, log), candidate(clock, "b", 1, 1, log)],
        {},
        seconds=0,
        runs=2,
        pairs=2,
        clock=clock,
    )
    opens = [entry for entry in log if entry.startswith("open")]
    assert opens == ["open a", "open b", "open b", "open a"]
    assert len(log) == 8


def noisy(seed: int, factor: float) -> Samples:
    """Six sessions with a level of their own (1 %) and runs that vary by 3 %."""
    random = np.random.default_rng(seed)
    levels = 1 + 0.01 * random.standard_normal(6)
    runs = [list(level * factor * (1 + 0.03 * random.standard_normal(30))) for level in levels]
    return Samples(wall=runs, cpu=runs)


def test_the_interval_of_a_model_against_itself_holds_one_in_19_of_20() -> None:
    covered = 0
    for trial in range(100):
        found = ratio(noisy(2 * trial, 1.0), noisy(2 * trial + 1, 1.0), seed=trial)
        covered += found.low <= 1.0 <= found.high
    assert covered >= 93


def test_a_real_difference_is_seen() -> None:
    found = ratio(noisy(1, 1.0), noisy(2, 0.8))
    assert found.low > 1.15
    assert found.high < 1.35


def test_the_gate_refuses_what_is_surely_slower(tmp_path: Path) -> None:
    fast = model_file(tmp_path / "fast.onnx", linear_text(256, 2048))
    body = " ".join(f"e{i} = Erf({'m' if i == 0 else f'e{i - 1}'})" for i in range(8))
    slow_text = linear_text(256, 2048).replace("y = Add(m, b)", f"{body} y = Add(e7, b)")
    slow = model_file(tmp_path / "slow.onnx", slow_text)
    feeds = {"x": np.ones((64, 256), np.float32)}
    refused = gate(fast, slow, feeds)
    assert not refused.kept
    assert refused.ratio is not None
    assert refused.ratio.high < 0.98
    assert gate(slow, fast, feeds).kept


def test_tiny_models_are_not_judged(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(8, 3))
    verdict = gate(path, path, {"x": np.ones((1, 8), np.float32)})
    assert verdict.kept
    assert "50 µs" in verdict.reason


def test_a_candidate_of_a_file_runs(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(8, 3))
    with onnx_candidate(path).open() as run:
        assert run({"x": np.ones((1, 8), np.float32)}) == {}
