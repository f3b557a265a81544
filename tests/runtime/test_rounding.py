from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import CheckFailed
from modelkit.model import load
from modelkit.reports import OutputError
from modelkit.runtime import rounding
from modelkit.runtime.compare import verify
from modelkit.runtime.feeds import Proposal, propose
from modelkit.runtime.session import Feeds, open_session
from tests.models import model_file

# What is left of a hundred is the last places of it, as of a sigmoid that is nearly shut.
_CANCELS = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, 64] y)
<float h = {100}> { a = Mul(x, x) b = Add(a, h) c = Sub(b, h) y = Mul(c, s) }"""


def cancelling(tmp_path: Path, name: str, factor: str) -> Path:
    text = _CANCELS.replace("<float h", f"<float s = {{{factor}}}, float h")
    return model_file(tmp_path / name, text)


def trials(path: Path) -> Proposal:
    with open_session(path, optimize=False) as session:
        return propose(load(path), session.run)


def test_the_distance_of_a_model_from_itself(tmp_path: Path) -> None:
    path = cancelling(tmp_path, "m.onnx", "1")
    feeds: Feeds = {"x": np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)}
    assert 1e-7 < rounding.own_distance(path, [feeds])["y"] < 1e-4
    exact = model_file(
        tmp_path / "e.onnx",
        """<ir_version: 8, opset_import: ["": 17]> g (int64[n] x) => (int64[n] y, float[n] z)
        { y = Add(x, x) z = Cast<to=1>(y) }""",
    )
    assert rounding.own_distance(exact, [{"x": np.arange(5)}]) == {"z": 0.0}


def test_outputs_of_another_length_are_left_out(tmp_path: Path) -> None:
    one = {"y": np.zeros(3, np.float32), "z": np.array([1.0, np.inf], np.float32)}
    other = {"y": np.zeros(4, np.float32), "z": np.array([1.0, np.inf], np.float32)}
    assert list(rounding.distances(one, other)) == []


def test_inputs_move_by_one_place_and_zeros_stay() -> None:
    given: Feeds = {"x": np.array([0.0, 1.0, -2.0] * 50, np.float32), "i": np.arange(3)}
    found = rounding.moved(given)
    assert np.array_equal(found["i"], given["i"])
    assert found["x"].dtype == np.float32
    assert not np.array_equal(found["x"], given["x"])
    assert np.abs(found["x"] - given["x"]).max() <= np.spacing(np.float32(2.0))
    assert not found["x"][given["x"] == 0].any()


def test_a_result_is_judged_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other differs by 3e-5, three times the limit of the step.
    one, two = cancelling(tmp_path, "1.onnx", "1"), cancelling(tmp_path, "2.onnx", "1.00003")
    proposal = trials(one)
    with pytest.raises(CheckFailed, match="does not compute"):
        verify(one, two, step="optimize", proposal=proposal)
    monkeypatch.setattr(rounding, "own_distance", lambda *_: {"y": 2e-5})
    found = verify(one, two, step="optimize", proposal=proposal)
    assert found.passed
    assert found.own_distance == 2e-5
    assert found.worst is not None
    assert found.worst.limit == pytest.approx(6e-5)


def test_a_large_distance_excuses_little() -> None:
    errors = (
        OutputError("y", "relative", 0.3, 1e-5, False),
        OutputError("z", "agreement", 0.5, 0.999, False),
    )
    judged = rounding.allowing({"y": 0.7, "z": 0.7}, errors)
    assert [error.passed for error in judged] == [False, False]
    assert judged[0].limit == rounding.MOST


def test_what_passes_pays_nothing_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> dict[str, float]:
        raise AssertionError

    monkeypatch.setattr(rounding, "own_distance", never)
    path = cancelling(tmp_path, "m.onnx", "1")
    assert verify(path, path, step="optimize", proposal=trials(path)).own_distance == 0.0
