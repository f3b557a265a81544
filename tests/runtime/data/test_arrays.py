from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit import progress
from modelkit.errors import BadInput, UsageError
from modelkit.runtime.data.arrays import (
    array_of,
    expected_outputs,
    fitted,
    matched,
    read_npy,
    read_npz,
    read_test_set,
)
from modelkit.runtime.ports import Port

X, Y = Port("x", "float32", ("n", 2)), Port("i", "int64", ("n",))


def pb(path: Path, array: np.ndarray) -> None:
    path.write_bytes(onnx.numpy_helper.from_array(array).SerializeToString())


def test_a_test_data_set_in_the_order_of_its_inputs(tmp_path: Path) -> None:
    pb(tmp_path / "input_0.pb", np.ones((1, 2), np.float32))
    with pytest.raises(BadInput, match=r"no input_1\.pb"):
        read_test_set(tmp_path, [X, Y])
    pb(tmp_path / "input_1.pb", np.array([3]))
    pb(tmp_path / "output_0.pb", np.array([4.0]))
    found = read_test_set(tmp_path, [X, Y])
    assert found["i"].tolist() == [3]
    assert [value.tolist() for value in expected_outputs(tmp_path)] == [[4.0]]


def test_a_broken_pb_file(tmp_path: Path) -> None:
    (tmp_path / "input_0.pb").write_bytes(b"\xff" * 40)
    with pytest.raises(BadInput, match="not a tensor"):
        array_of(tmp_path / "input_0.pb")


def test_casts_that_change_nothing_are_noted(tmp_path: Path) -> None:
    with progress.collected() as notes:
        assert fitted(np.array([1, 2]), X, tmp_path).dtype == np.float32
        assert fitted(np.array([1.5, 2.25]), X, tmp_path).dtype == np.float32
        fitted(np.array([1.5, 2.25]), X, tmp_path)
    assert notes == [
        "input 'x': int64 values taken as float32",
        "input 'x': float64 values taken as float32",
    ]


@pytest.mark.parametrize("array", [np.array([1.5]), np.array([2**40]) * 1.1, np.array(["a"])])
def test_casts_that_change_values_are_refused(array: np.ndarray) -> None:
    with pytest.raises(BadInput, match="input 'i' is int64|do not fit"):
        fitted(array, Y, Path("f.npy"))
    with pytest.raises(BadInput, match="do not fit"):
        fitted(np.array([1e60]), X, Path("f.npy"))


def test_one_array_for_one_input_only(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((1, 2)))
    assert set(read_npy(tmp_path / "a.npy", [X])) == {"x"}
    with pytest.raises(UsageError, match="2 inputs") as caught:
        read_npy(tmp_path / "a.npy", [X, Y])
    assert "--input i=" in caught.value.hint


def test_archives_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((1, 2), np.float32), i=np.array([1]))
    assert set(read_npz(tmp_path / "a.npz", [X, Y])) == {"x", "i"}
    with pytest.raises(BadInput, match="nothing for input 'z'") as caught:
        matched({"x": np.ones(1), "i": np.ones(1)}, [Port("z", "float32", ())], tmp_path)
    assert caught.value.hint == "it has: x, i"
