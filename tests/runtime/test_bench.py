import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import CheckFailed, UsageError
from modelkit.runtime import bench
from modelkit.runtime.bench import (
    Candidate,
    Samples,
    gate,
    interleave,
    judge,
    onnx_candidate,
    ratio,
)
from modelkit.runtime.session import Feeds, Run, Setup
from tests.models import linear_text, model_file


class FakeClock:
    """Time that passes only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.used = 0.0

    def wall(self) -> float:
        return self.now

    def cpu(self) -> float:
        return self.used

    def work(self, wall: float, cpu: float | None = None) -> None:
        self.now += wall
        self.used += wall if cpu is None else cpu


class Machine:
    """Candidates of known cost on a fake clock, and a log of what was done to them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log: list[tuple[str, str]] = []
        self.alive = 0
        self.most_alive = 0

    def candidate(
        self, name: str, *seconds: float, load: float = 0.0, busy: float = 1.0
    ) -> Candidate:
        """Runs take ``seconds`` in turn, begun anew in each session; ``busy`` of it on the CPU."""

        @contextmanager
        def opened() -> Iterator[Run]:
            self.log.append(("open", name))
            self.clock.work(load)
            self.alive += 1
            self.most_alive = max(self.most_alive, self.alive)
            count = 0

            def run(feeds: Feeds) -> dict[str, np.ndarray]:
                nonlocal count
                self.log.append(("run", name))
                taken = seconds[count % len(seconds)]
                self.clock.work(taken, taken * busy)
                count += 1
                return {}

            try:
                yield run
            finally:
                self.alive -= 1
                self.log.append(("close", name))

        return Candidate(name, opened)

    def race(
        self,
        *candidates: Candidate,
        seconds: float = 0.0,
        runs: int = 0,
        warmup: int = 0,
        pairs: int = 0,
        seed: int = 0,
    ) -> list[Samples]:
        return interleave(
            candidates,
            {},
            seconds=seconds,
            runs=runs,
            warmup=warmup,
            pairs=pairs,
            seed=seed,
            clock=self.clock,
        )

    def names(self, what: str) -> str:
        return "".join(name for done, name in self.log if done == what)


def test_known_latencies_in_known_statistics_out() -> None:
    machine = Machine()
    a, b = machine.race(
        machine.candidate("a", 0.01, load=0.5), machine.candidate("b", 0.03), runs=24
    )
    assert [len(runs) for runs in a.wall] == [4] * 6
    assert a.all_wall() == pytest.approx([0.01] * 24)
    assert b.all_cpu() == pytest.approx([0.03] * 24)
    assert a.load == pytest.approx([0.5] * 6)
    assert a.first == pytest.approx([0.01] * 6)
    found = ratio(b, a)
    assert (found.median, found.low, found.high) == pytest.approx((3, 3, 3))


def test_cpu_and_wall_time_are_told_apart() -> None:
    machine = Machine()
    waits, works = machine.race(
        machine.candidate("waits", 0.02, busy=0.25), machine.candidate("works", 0.01), runs=6
    )
    assert waits.all_wall() == pytest.approx([0.02] * 6)
    assert waits.all_cpu() == pytest.approx([0.005] * 6)
    assert ratio(works, waits).median == pytest.approx(2)
    assert ratio(works, waits, wall=True).median == pytest.approx(0.5)


def test_the_order_of_creation_alternates_and_all_live_together() -> None:
    machine = Machine()
    machine.race(*(machine.candidate(name, 0.01) for name in "abc"), runs=6)
    assert machine.names("open") == "abccba" * 3
    assert machine.most_alive == 3
    assert machine.alive == 0


def test_rounds_are_random_permutations_that_the_seed_repeats() -> None:
    def order(seed: int) -> str:
        machine = Machine()
        three = [machine.candidate(name, 0.01) for name in "abc"]
        machine.race(*three, runs=60, warmup=1, pairs=4, seed=seed)
        return machine.names("run")

    session = order(0)[6:51]  # after a first run and one to warm up for each
    rounds = [session[at : at + 3] for at in range(0, 45, 3)]
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert len(set(rounds)) > 3
    assert order(0) == order(0)
    assert order(0) != order(1)


@pytest.mark.parametrize(("warmup", "least", "most"), [(3, 3, 3), (0, 10, 11)])
def test_warming_up_goes_by_runs_or_by_a_tenth_of_a_second(
    warmup: int, least: int, most: int
) -> None:
    machine = Machine()
    machine.race(machine.candidate("a", 0.01), runs=6, warmup=warmup)
    session = machine.log[: machine.log.index(("close", "a"))]
    assert least <= session.count(("run", "a")) - 2 <= most  # the first run and one timed


@pytest.mark.parametrize(("seconds", "each"), [(0.001, 2), (0.010, 1)])
def test_short_runs_are_timed_after_one_untimed(seconds: float, each: int) -> None:
    machine = Machine()
    machine.race(machine.candidate("a", seconds), runs=60, warmup=1, pairs=6)
    assert machine.log.count(("run", "a")) == 6 * (1 + 1 + each * 10)


def test_time_is_shared_out_between_sessions() -> None:
    machine = Machine()
    a, b = machine.race(machine.candidate("a", 0.01), machine.candidate("b", 0.03), seconds=1.2)
    # 0.02 s a run on average: 60 rounds, and at most one more in each session for rounding.
    assert 60 <= a.all_wall().size <= 60 + len(a.wall)
    assert a.all_wall().size == b.all_wall().size


@pytest.mark.parametrize(("run", "seconds", "each"), [(10, 1, 3), (1e-5, 60, 2000)])
def test_a_session_has_three_to_two_thousand_runs(run: float, seconds: float, each: int) -> None:
    machine = Machine()
    (samples,) = machine.race(machine.candidate("a", run), seconds=seconds)
    assert {len(runs) for runs in samples.wall} == {each}


@pytest.mark.parametrize(
    ("load", "runs", "pairs", "expected"),
    [(0.01, 0, 0, 12), (100, 0, 0, 6), (0.01, 30, 0, 6), (0.01, 0, 4, 4)],
)
def test_cheap_sessions_are_opened_more_often(
    load: float, runs: int, pairs: int, expected: int
) -> None:
    machine = Machine()
    one = machine.candidate("a", 0.01, load=load)
    (samples,) = machine.race(one, seconds=6, runs=runs, pairs=pairs)
    assert len(samples.wall) == expected


def test_an_odd_number_of_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        Machine().race(pairs=7)


def test_all_is_closed_when_a_run_fails() -> None:
    machine = Machine()

    @contextmanager
    def broken() -> Iterator[Run]:
        def run(feeds: Feeds) -> dict[str, np.ndarray]:
            raise CheckFailed("no")

        yield run

    with pytest.raises(CheckFailed):
        machine.race(machine.candidate("a", 0.01), Candidate("b", broken))
    assert machine.alive == 0


def noisy(
    chance: random.Random, *, pairs: int, runs: int, speed: float = 1.0, session: float = 0.008
) -> tuple[Samples, Samples]:
    """Old and new on a busy machine; new is ``speed`` times as fast.

    Sessions differ by ``session``, the first created is 1.5 % slower, the machine drifts for both,
    runs scatter by 3 %, and one in twenty is disturbed.
    """
    both = Samples(), Samples()
    for pair in range(pairs):
        drift = 1.0
        levels = [
            cost * chance.lognormvariate(0, session) * (1.015 if pair % 2 == which else 1.0)
            for which, cost in enumerate((1.0, 1 / speed))
        ]
        for samples in both:
            samples.cpu.append([])
        for _ in range(runs):
            drift *= chance.lognormvariate(0, 0.005)
            for samples, level in zip(both, levels, strict=True):
                disturbed = 1 + chance.expovariate(1) if chance.random() < 0.05 else 1
                samples.cpu[-1].append(level * drift * chance.lognormvariate(0, 0.03) * disturbed)
    return both


@pytest.mark.parametrize(
    ("pairs", "runs", "session", "width"),
    [(6, 4, 0.008, 0.08), (6, 50, 0.008, 0.035), (12, 25, 0.008, 0.025), (12, 25, 0.02, 0.045)],
)
def test_the_interval_of_equals_holds_one_in_19_of_20(
    pairs: int, runs: int, session: float, width: float
) -> None:
    chance = random.Random(1)
    found = [ratio(*noisy(chance, pairs=pairs, runs=runs, session=session)) for _ in range(400)]
    assert sum(each.low <= 1 <= each.high for each in found) >= 372  # 95 % less two deviations
    assert float(np.median([each.high - each.low for each in found])) < width


def test_a_true_difference_is_inside_its_interval_and_one_is_not() -> None:
    chance = random.Random(2)
    found = [ratio(*noisy(chance, pairs=12, runs=25, speed=1.05)) for _ in range(200)]
    assert sum(each.low <= 1.05 <= each.high for each in found) >= 184
    assert sum(each.low > 1 for each in found) >= 190
    assert np.mean([each.median for each in found]) == pytest.approx(1.05, abs=0.003)


def test_the_effect_of_the_order_of_creation_cancels() -> None:
    old, new = Samples(), Samples()
    for pair in range(6):
        first, second = (1.03, 1.0) if pair % 2 == 0 else (1.0, 1.03)
        old.cpu.append([first] * 3)
        new.cpu.append([second] * 3)
    found = ratio(old, new)
    assert (found.median, found.low, found.high) == pytest.approx((1, 1, 1))


def test_too_few_pairs_have_no_interval() -> None:
    samples = Samples(cpu=[[1.0]] * 2)
    with pytest.raises(ValueError, match="too few"):
        ratio(samples, samples)


@pytest.mark.parametrize(
    ("new", "kept"), [(0.010, True), (0.0101, True), (0.0104, False), (0.02, False), (0.005, True)]
)
def test_only_what_is_surely_slower_is_refused(new: float, kept: bool) -> None:
    machine = Machine()
    one, other = machine.candidate("old", 0.010), machine.candidate("new", new)
    verdict = judge(one, other, {}, clock=machine.clock)
    assert verdict.kept is kept
    assert verdict.ratio is not None
    assert verdict.ratio.median == pytest.approx(0.010 / new)
    allowed = "1 thread, CPU time, 12 session pairs"
    assert verdict.reason == (allowed if kept else "slower than the source")


def test_noise_alone_refuses_nothing() -> None:
    chance = random.Random(3)
    times = [0.01 * chance.lognormvariate(0, 0.1) for _ in range(997)]
    machine = Machine()
    one, other = machine.candidate("old", *times), machine.candidate("new", *reversed(times))
    assert judge(one, other, {}, clock=machine.clock).kept


def test_short_runs_are_not_judged_unless_one_became_long() -> None:
    machine = Machine()
    short, long = machine.candidate("old", 4e-5), machine.candidate("new", 4e-4)
    verdict = judge(short, short, {}, clock=machine.clock)
    assert (verdict.kept, verdict.ratio) == (True, None)
    assert "50 µs" in verdict.reason
    assert not judge(short, long, {}, clock=machine.clock).kept


@pytest.mark.parametrize(
    ("old", "new", "kept", "reason"),
    [
        (3.9, 1.2, False, "slower than the source on 4 threads"),  # it uses one of four: judged
        (2.0, 2.1, True, "not judged on 4 threads: they got 2.1 CPUs"),
    ],
)
def test_threads_are_judged_where_they_had_their_cpus(
    old: float, new: float, kept: bool, reason: str
) -> None:
    machine = Machine()
    one = machine.candidate("old", 0.02, busy=old)
    other = machine.candidate("new", 0.04, busy=new)
    verdict = judge(one, other, {}, clock=machine.clock, wall=True, threads=4)
    assert (verdict.kept, verdict.reason) == (kept, reason)


def test_the_gate_keeps_to_its_time_and_to_two_sessions() -> None:
    machine = Machine()
    one, other = (machine.candidate(name, 0.02, load=0.1) for name in ("old", "new"))
    judge(one, other, {}, clock=machine.clock)
    assert machine.clock.now < 15
    assert machine.most_alive == 2


def test_a_model_file_is_timed_through_onnx_runtime(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(64, 64))
    feeds = {"x": np.ones((1, 64), np.float32)}
    (samples,) = interleave([onnx_candidate(path)], feeds, seconds=0, runs=60, warmup=1)
    assert samples.all_wall().size == 60
    assert 0 < float(np.median(samples.all_cpu())) < 0.1
    assert all(seconds > 0 for seconds in samples.load + samples.first)


def test_threads_of_a_session_do_not_spin_between_runs(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(512, 512))
    feeds = {"x": np.ones((64, 512), np.float32)}

    def spun(candidate: Candidate) -> float:
        """The CPU seconds taken in 10 ms after a run."""
        with candidate.open() as run:
            for _ in range(3):
                run(feeds)
            start = time.process_time()
            time.sleep(0.01)
            return time.process_time() - start

    eager = Setup(threads=2, session_options={"session.force_spinning_stop": "0"})
    assert min(spun(onnx_candidate(path, setup=Setup(threads=2))) for _ in range(5)) < 0.001
    assert max(spun(onnx_candidate(path, setup=eager)) for _ in range(5)) > 0.003


def test_a_candidate_that_spins_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    spinning = [3]  # looks until its threads sleep

    def sleep(seconds: float) -> None:
        machine.clock.work(seconds, seconds if spinning[0] > 0 else 0.0)
        machine.log.append(("rest", ""))
        spinning[0] -= 1

    monkeypatch.setattr(time, "sleep", sleep)
    framework = replace(machine.candidate("framework", 0.01), spins=True)
    onnx = machine.candidate("onnx", 0.01)
    interleave([framework, onnx], {}, seconds=0, runs=1, pairs=2, clock=machine.clock)
    after = [name for name, _ in machine.log]
    assert after.count("rest") == 3 + 1 + 1  # three busy looks and a quiet one, then a quiet one


def test_waiting_ends_where_a_candidate_never_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    monkeypatch.setattr(time, "sleep", machine.clock.work)
    framework = replace(machine.candidate("framework", 0.01), spins=True)
    interleave([framework], {}, seconds=0, runs=1, pairs=2, clock=machine.clock)
    assert machine.clock.now < 1


def test_the_gate_refuses_a_model_that_does_ten_times_the_work(tmp_path: Path) -> None:
    small = model_file(tmp_path / "a.onnx", linear_text(512, 512))
    layers = " ".join(f"h{n + 1} = MatMul(h{n}, w)" for n in range(10))
    text = f"""<ir_version: 10, opset_import: ["": 20]>
    deep (float[n, 512] x) => (float[n, 512] y)
    <float[512, 512] w> {{ h0 = Identity(x) {layers} y = Identity(h10) }}"""
    deep = model_file(tmp_path / "b.onnx", text)
    feeds = {"x": np.ones((8, 512), np.float32)}
    verdict = gate(small, deep, feeds, seconds=0.2)
    assert not verdict.kept
    assert verdict.ratio is not None
    assert verdict.ratio.high < 0.5
    assert gate(deep, small, feeds, seconds=0.2).kept


def test_tiny_models_are_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TOO_SHORT", 1.0)  # on a busy machine a run may take its 50 µs
    path = model_file(tmp_path / "m.onnx", linear_text(8, 3))
    verdict = gate(path, path, {"x": np.ones((1, 8), np.float32)})
    assert verdict.kept
    assert "50 µs" in verdict.reason


def test_feeds_that_do_not_fit_are_named_in_our_words(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(4, 4))
    with pytest.raises(UsageError, match="'x'"):
        interleave([onnx_candidate(path)], {"x": np.ones((1, 5), np.float32)}, seconds=0)


def test_the_loop_adds_less_than_two_microseconds_to_a_run() -> None:
    @contextmanager
    def idle() -> Iterator[Run]:
        yield lambda feeds: {}

    (samples,) = interleave([Candidate("idle", idle)], {}, seconds=0, runs=6000, warmup=1)
    assert float(np.median(samples.all_wall())) < 2e-6
    assert float(np.median(samples.all_cpu())) < 2e-6
