from pathlib import Path

import numpy as np
import pytest

from modelkit.comparison.layers import first_difference
from modelkit.errors import UsageError
from modelkit.runtime.compare import TOLERANCES
from modelkit.runtime.session import Setup
from tests.models import model_file

FEEDS = {"x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)}
EXACT = TOLERANCES["optimize"]


def chain(folder: Path, name: str, length: int, wrong: int = -1) -> Path:
    """x -> Tanh -> Add -> Tanh ..., with one Add of another value."""
    lines = []
    for index in range(length):
        before = "x" if index == 0 else f"s{index - 1}"
        value = "0.6" if index == wrong else "0.5"
        lines.append(f"c{index} = Constant<value_float={value}>()")
        lines.append(f"t{index} = Tanh({before}) s{index} = Add(t{index}, c{index})")
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 4] y)'
    body = "\n".join(lines)
    return model_file(folder / name, f"{head} {{ {body} y = Identity(s{length - 1}) }}")


@pytest.mark.parametrize("wrong", [0, 1, 30, 58, 59])
def test_the_first_wrong_tensor_is_found(tmp_path: Path, wrong: int) -> None:
    right = chain(tmp_path, "a.onnx", 60)
    other = chain(tmp_path, "b.onnx", 60, wrong)
    found = first_difference(right, other, FEEDS, EXACT, Setup())
    # The constant itself is a tensor that both have, and the first to differ.
    assert found.tensor == f"c{wrong}"
    assert found.producer.startswith("Constant")
    assert found.sessions <= 4
    assert found.compared < 80


def test_equal_models_have_no_difference(tmp_path: Path) -> None:
    right = chain(tmp_path, "a.onnx", 5)
    found = first_difference(right, right, FEEDS, EXACT, Setup())
    assert (found.tensor, found.sessions) == ("", 1)


def test_a_coarse_tolerance_lets_small_differences_pass(tmp_path: Path) -> None:
    right, other = chain(tmp_path, "a.onnx", 3), chain(tmp_path, "b.onnx", 3, 1)
    assert not first_difference(right, other, FEEDS, TOLERANCES["int4"], Setup()).tensor


def test_models_without_a_common_name(tmp_path: Path) -> None:
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 4] y)'
    one = model_file(tmp_path / "1.onnx", f"{head} {{ p = Tanh(x) y = Exp(p) }}")
    two = model_file(tmp_path / "2.onnx", f"{head} {{ q = Tanh(x) y = Exp(q) }}")
    with pytest.raises(UsageError, match="no tensor that both models have"):
        first_difference(one, two, FEEDS, EXACT, Setup())
