import numpy as np
import pytest

from modelkit.errors import UsageError
from modelkit.runtime.ports import Port, check_value, shown


def test_values_are_held_to_type_and_shape() -> None:
    port = Port("x", "float32", ("n", 3, None))
    check_value(port, np.ones((9, 3, 1), np.float32))
    for value, words in (
        (np.ones((9, 3, 1)), "not float64"),
        (np.ones((9, 4, 1), np.float32), r"wants \[n, 3, \?\]"),
        (np.ones((9, 3), np.float32), "has shape"),
    ):
        with pytest.raises(UsageError, match=words):
            check_value(port, value)


def test_an_unknown_rank_takes_anything() -> None:
    check_value(Port("x", "str", ()), np.array(["a"]))


def test_shapes_for_people_are_harmless() -> None:
    assert shown((1, None, "\x1b[2J")) == r"[1, ?, \x1b[2J]"
