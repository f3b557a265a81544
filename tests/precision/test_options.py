import pytest

from modelkit.errors import UsageError
from modelkit.precision.narrow import HALVES
from modelkit.precision.options import Options, checked
from modelkit.runtime.compare import TOLERANCES, Tolerance


@pytest.mark.parametrize("step", HALVES)
def test_the_goal_is_the_steps_own_unless_given(step: str) -> None:
    assert Options(step=step).tolerance == TOLERANCES[step]
    assert Options(step=step).half is HALVES[step]
    share = TOLERANCES[step].agreement
    assert Options(step=step, min_sqnr=42.0).tolerance == Tolerance("sqnr", 42.0, share)
    assert Options(step=step, max_error=0.01).tolerance == Tolerance("relative", 0.01, share)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"min_sqnr": 40.0, "max_error": 0.1}, "exclude each other"),
        ({"max_error": 0.0}, "above 0"),
        ({"max_error": float("nan")}, "above 0"),
        ({"min_sqnr": -1.0}, "between"),
        ({"min_sqnr": float("nan")}, "between"),
        ({"keep": ("(",)}, "no regular expression"),
        ({"target": "moon"}, "moon"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        checked(Options(**given))


def test_the_recipe_holds_no_folder_and_no_order() -> None:
    recipe = Options(keep=("b", "a"), calib_data="/some/where/data.npz").recipe()
    assert recipe["keep"] == ["a", "b"] and recipe["calib_data"] == "data.npz"
