from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkit.errors import BadInput, UsageError
from modelkit.runtime.data.settings import Preprocessing
from modelkit.runtime.data.sources import Place, open_inputs
from modelkit.runtime.ports import Port

X = Port("x", "float32", ("batch", 3))
IDS = Port("ids=1", "int64", (1, "sequence"))
PLACE = Place(Preprocessing(), None)


def feeds(texts: list[str], inputs: list[Port], **rest: object) -> list[dict[str, np.ndarray]]:
    return [sample.feeds for sample in open_inputs(texts, inputs, PLACE, **rest)]  # type: ignore[arg-type]


def test_random_values_of_each_kind() -> None:
    (found,) = feeds(["normal"], [X], dims={"batch": 4}, seed=3)
    assert found["x"].shape == (4, 3)
    assert feeds(["normal"], [X], dims={"batch": 4}, seed=3)[0]["x"].tolist() == found["x"].tolist()
    (both,) = feeds(["x=ones", "ids=1=ids:5-9"], [X, IDS])
    assert both["x"].tolist() == [[1, 1, 1]]
    assert both["ids=1"].shape == (1, 128)
    assert set(np.unique(both["ids=1"])) <= {5, 6, 7, 8, 9}
    (uniform,) = feeds(["uniform:2-3"], [X])
    assert 2 <= uniform["x"].min() <= uniform["x"].max() <= 3


def test_streams_in_step_and_values_that_stay(tmp_path: Path) -> None:
    for index in range(3):
        np.save(tmp_path / f"{index}.npy", np.full((1, 3), index, np.float32))
    found = feeds([f"x={tmp_path}", "ids=1=zeros"], [X, IDS], dims={"sequence": 2})
    assert [int(each["x"][0, 0]) for each in found] == [0, 1, 2]
    assert all(each["ids=1"].tolist() == [[0, 0]] for each in found)
    other = tmp_path / "other"
    other.mkdir()
    for index in range(2):
        np.save(other / f"{index}.npy", np.zeros((1, 4), np.int64))
    with pytest.raises(BadInput, match="fewer values"):
        feeds([f"x={tmp_path}", f"ids=1={other}"], [X, IDS])


def test_a_file_for_all_inputs(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"x": np.ones((1, 3), np.float32), "ids=1": np.ones((1, 2), np.int64)}
    np.savez(tmp_path / "a.npz", **arrays)
    assert set(feeds([str(tmp_path / "a.npz")], [X, IDS])[0]) == {"x", "ids=1"}
    with pytest.raises(UsageError, match="without a name"):
        feeds([str(tmp_path / "a.npz"), "x=ones"], [X, IDS])


@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        ([], UsageError, "'x' got no value"),
        (["x=ones"], UsageError, "'ids=1' got no value"),
        (["y=ones", "x=ones"], UsageError, "no input 'y'"),
        (["x=nothere.npy", "ids=1=ones"], BadInput, "no such file: nothere.npy"),
        (["nothere.npz"], BadInput, "no such file: nothere.npz"),
        (["x=uniform:3-2", "ids=1=ones"], UsageError, "is above"),
        (["x=ones", "x=zeros"], UsageError, "named twice"),
    ],
)
def test_bad_inputs_say_what_to_type(texts: list[str], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        feeds(texts, [X, IDS])


def test_an_axis_nobody_gave_a_length() -> None:
    with pytest.raises(UsageError, match="axis 1 of input 'x'") as caught:
        feeds(["normal"], [Port("x", "float32", ("n", "width"))])
    assert caught.value.hint == "add --dim width=LENGTH"
    with pytest.raises(UsageError, match="is text"):
        feeds(["normal"], [Port("s", "str", ("n",))])
