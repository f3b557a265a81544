from pathlib import Path

import numpy as np
import pytest

from modelkit import deliver as module
from modelkit import progress
from modelkit.deliver import Terms, deliver, up_to_date
from modelkit.errors import BadInput, CannotWrite, CheckFailed
from modelkit.model import Model, add_step, load, save
from modelkit.reports import Interval, SpeedVerdict
from tests.models import linear_text, model_file

QUICK = Terms(measure=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return model_file(tmp_path / "m.onnx", linear_text(8, 3))


def changed(path: Path) -> Model:
    """The model with a weight that is off."""
    model = load(path)
    import onnx_ir as ir

    weight = model.graph.initializers["w"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(np.array(weight.const_value.numpy()) * 1.01, name="w")
    return model


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_a_right_result_is_written(path: Path) -> None:
    done = deliver(load(path), path.with_name("o.onnx"), QUICK, step="optimize", source=path)
    assert done.verification.passed
    assert done.written == str(path.with_name("o.onnx"))
    assert done.result.path == done.written
    assert names(path) == ["m.onnx", "o.onnx"]


def test_a_wrong_result_is_not(path: Path) -> None:
    with pytest.raises(CheckFailed, match="does not compute"):
        deliver(changed(path), path.with_name("o.onnx"), QUICK, step="optimize", source=path)
    assert names(path) == ["m.onnx"]


def test_without_verification_it_is_written_loudly(path: Path) -> None:
    heard: list[tuple[str, str]] = []
    progress.listen(lambda kind, text: heard.append((kind, text)))
    terms = Terms(verify=False, measure=False)
    try:
        target = path.with_name("o.onnx")
        done = deliver(changed(path), target, terms, step="optimize", source=path)
    finally:
        progress.listen(None)
    assert done.verification.skipped
    assert not done.verification.passed
    assert any(kind == "warning" and "not verified" in text for kind, text in heard)


def test_an_illegal_graph_is_not_written(path: Path) -> None:
    model = load(path)
    nodes = list(model.graph)
    model.graph.remove(nodes[0])
    with pytest.raises(BadInput):
        deliver(model, path.with_name("o.onnx"), QUICK, step="optimize", source=path)
    assert names(path) == ["m.onnx"]


def test_a_slower_result_is_handed_back_unwritten(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = SpeedVerdict(Interval(0.5, 0.4, 0.6), False, "slower than the source")
    monkeypatch.setattr(module, "gate", lambda *_, **__: verdict)
    done = deliver(load(path), path.with_name("o.onnx"), Terms(), step="optimize", source=path)
    assert (done.written, done.speed) == ("", verdict)
    assert names(path) == ["m.onnx"]


@pytest.mark.parametrize(
    ("second", "written", "reason"),
    [(1.1, True, "on one"), (0.8, False, "slower than the source on 4 threads")],
)
def test_a_result_is_timed_on_every_number_of_threads_asked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, second: float, written: bool, reason: str
) -> None:
    seen = []

    def gate(*_: object, threads: int, seconds: float = 3.0) -> SpeedVerdict:
        seen.append(threads)
        ratio = {1: 1.3, 4: second}[threads]
        why = "on one" if threads == 1 else "slower than the source on 4 threads"
        return SpeedVerdict(Interval(ratio, ratio, ratio), ratio > 1, why)

    monkeypatch.setattr(module, "gate", gate)
    terms = Terms(threads=(1, 4))
    done = deliver(load(path), path.with_name("o.onnx"), terms, step="optimize", source=path)
    assert seen == [1, 4]
    more = Interval(second, second, second)
    assert done.speed == SpeedVerdict(Interval(1.3, 1.3, 1.3), written, reason, 4, more)
    assert bool(done.written) == written


def test_what_could_not_be_judged_on_more_threads_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = iter(
        (
            SpeedVerdict(Interval(1.3, 1.3, 1.3), True, "1 thread"),
            SpeedVerdict(None, True, "not judged on 4 threads: they got 2.1 CPUs"),
        )
    )
    monkeypatch.setattr(module, "gate", lambda *_, **__: next(verdicts))
    terms = Terms(threads=(1, 4))
    done = deliver(load(path), path.with_name("o.onnx"), terms, step="optimize", source=path)
    assert done.written
    assert done.speed.reason == "1 thread; not judged on 4 threads: they got 2.1 CPUs"


def test_a_framework_is_a_source_too(path: Path) -> None:
    from modelkit.runtime.session import open_session

    with open_session(path) as session:
        done = deliver(
            load(path), path.with_name("o.onnx"), QUICK, step="convert", reference=session.run
        )
    assert done.verification.passed


def test_an_existing_output_needs_force(path: Path) -> None:
    with pytest.raises(CannotWrite, match="exists"):
        deliver(load(path), path, QUICK, step="optimize", source=path)
    terms = Terms(force=True, measure=False)
    assert deliver(load(path), path, terms, step="optimize", source=path).written == str(path)


def test_up_to_date_means_same_source_recipe_and_version(path: Path) -> None:
    model = load(path)
    add_step(model, "optimize", {"level": "all"}, "abc")
    out = save(model, path.with_name("o.onnx"))
    assert up_to_date(out, "optimize", {"level": "all"}, "abc")
    assert not up_to_date(out, "optimize", {"level": "basic"}, "abc")
    assert not up_to_date(out, "optimize", {"level": "all"}, "abd")
    assert not up_to_date(out, "quantize", {"level": "all"}, "abc")
    assert not up_to_date(path, "optimize", {"level": "all"}, "abc")
    assert not up_to_date(path.with_name("none.onnx"), "optimize", {}, "abc")
