import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkit.errors import UsageError
from modelkit.quantize import quantize_file
from modelkit.quantize.user_samples import is_module, user_samples
from modelkit.runtime.ports import Port
from tests.models import linear_text, model_file

X, Y = Port("x", "float32", ("n", 4)), Port("y", "int64", ("n",))
CODE = """
import numpy as np

def fresh():
    for number in range(3):
        yield {"x": np.full((1, 4), number, np.float32)}

def empty_handed(): return [{"z": 1}]
def too_many(): return [{"x": [[1, 2, 3, 4]], "z": 1}]
def broken():
    yield {"x": [[1, 2, 3, 4]]}
    raise ValueError("no more")

kept = [{"x": [[1, 2, 3, 4]]}]
bare = [np.ones((2, 4), np.float32)]
once = iter(kept)
number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"held_{tmp_path.name}".replace("[", "_").replace("]", "_").replace("-", "_")
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a.b:c", True), ("mod:gen", True), ("a.npz", False), ("C:\\x", False), ("a:b:c", False)],
)
def test_a_module_is_told_from_a_file(text: str, expected: bool, tmp_path: Path) -> None:
    assert is_module(text) is expected
    if expected:
        (tmp_path / text).touch()
        assert not is_module(text)


@pytest.mark.parametrize(("name", "count"), [("fresh", 3), ("kept", 1), ("bare", 1)])
def test_samples_start_over(module: str, name: str, count: int) -> None:
    samples = user_samples(f"{module}:{name}", [X], "--calib-data")
    for _ in range(2):
        found = list(samples())
        assert len(found) == count
        assert all(feeds["x"].dtype == np.float32 for feeds in found)
        assert all(feeds["x"].shape[1] == 4 for feeds in found)


@pytest.mark.parametrize(
    ("name", "inputs", "words"),
    [
        ("nothing", [X], "no function 'nothing'"),
        ("number", [X], "holds no samples but int"),
        ("once", [X], "only once"),
        ("empty_handed", [X], "nothing for input 'x'"),
        ("too_many", [X], "a name too many"),
        ("bare", [X, Y], "no dict, and the model has 2 inputs"),
        ("broken", [X], "raised ValueError"),
    ],
)
def test_what_is_no_sample_is_an_error_of_the_user(
    module: str, name: str, inputs: list[Port], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        list(user_samples(f"{module}:{name}", inputs, "--calib-data")())


def test_a_line_of_the_users_code_is_named(module: str) -> None:
    with pytest.raises(UsageError) as caught:
        list(user_samples(f"{module}:broken", [X], "--calib-data")())
    assert f"{module[:60]}" in caught.value.cause
    assert "no more" in caught.value.cause


@pytest.mark.parametrize("mode", ["static", "auto"])
def test_quantize_calibrates_on_it(module: str, mode: str, tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(4, 128))
    more: dict[str, Any] = {"min_sqnr": 10.0, "eval_data": f"{module}:kept"}
    report = quantize_file(
        str(path), mode=mode, calib_data=f"{module}:fresh", measure=False,
        **(more if mode == "auto" else {}),
    )  # fmt: skip
    assert report.quantized == 1
    assert any("calibrated on 3 samples" in note for note in report.notes)
    again = quantize_file(str(path), mode=mode, calib_data=f"{module}:fresh", measure=False,
                          force=True, **(more if mode == "auto" else {}))  # fmt: skip
    assert not again.up_to_date
