from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import UsageError
from modelkit.quantize.goal import Goal, Judge, read_goal, share
from modelkit.reports import Point
from tests.harness import floats
from tests.models import linear_text, model_file, run


@pytest.mark.parametrize(("text", "value"), [("0.5%", 0.005), ("0.005", 0.005), ("99.5 %", 0.995)])
def test_a_share_is_a_percentage_or_a_fraction(text: str, value: float) -> None:
    assert share(text, "--max-drop") == pytest.approx(value)


@pytest.mark.parametrize("text", ["99.5", "-1%", "half", "", "101%", "nan"])
def test_what_is_no_share_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        share(text, "--max-drop")
    assert caught.value.message.startswith("--max-drop ")
    assert "0.5%" in str(caught.value.hint)


def test_one_goal_is_needed_and_one_only() -> None:
    assert read_goal(30.0, None, None) == Goal("min_sqnr", 30.0)
    assert str(read_goal(None, None, "0.5%")) == "--max-drop 0.5%"
    for given in ((None, None, None), (30.0, "99%", None)):
        with pytest.raises(UsageError):
            read_goal(*given)


def point(
    *, sqnr: float = 20.0, agreement: float | None = 0.99, drop: float | None = None
) -> Point:
    return Point("one", sqnr, agreement, drop, 1, 0)


def test_each_goal_looks_at_its_own_figure() -> None:
    assert point(sqnr=30.0) in Goal("min_sqnr", 30.0)
    assert point(sqnr=29.9) not in Goal("min_sqnr", 30.0)
    assert point(agreement=0.995) in Goal("min_agreement", 0.995)
    assert point(drop=0.004, agreement=0.5) in Goal("max_drop", 0.005)
    assert point(drop=0.006, agreement=1.0) not in Goal("max_drop", 0.005)
    # Without labels answers that change count as lost.
    assert point(agreement=0.99) not in Goal("max_drop", 0.005)
    with pytest.raises(UsageError):
        Goal("min_agreement", 0.9).margin(point(agreement=None))


def test_the_judge_measures_what_was_lost(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(16, 4))
    samples = [{"x": floats(25, 16, seed=seed)} for seed in range(4)]
    truth = np.concatenate([run(path, each)["y"].argmax(1) for each in samples])
    np.save(tmp_path / "labels.npy", truth)
    judge = Judge(path, lambda: iter(samples), str(tmp_path / "labels.npy"))
    judge.prepare()
    assert judge.rows == 100
    same = judge.judge("itself", path, 10, 0)
    assert (same.drop, same.agreement) == (0.0, 1.0)
    wrong = 30

    def worse(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        y = run(path, feeds)["y"].copy()
        if feeds is samples[0]:
            y[:] = -y
        return {"y": y}

    found = judge.point("worse", worse, 10, 0)
    assert found.drop is not None
    assert 0 < found.drop <= wrong / 100
    assert found.agreement == pytest.approx(1 - found.drop)
    assert found.sqnr < 5


def test_few_rows_are_told(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(16, 4))
    judge = Judge(path, lambda: iter([{"x": floats(8, 16)}]))
    judge.prepare()
    assert "8 rows" in judge.note(Goal("min_agreement", 0.99))[0]
    assert judge.note(Goal("min_sqnr", 30)) == ()
