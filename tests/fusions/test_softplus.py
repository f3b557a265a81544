import numpy as np
import pytest

from tests.harness import floats, rewritten
from tests.models import Feeds

NAME = "softplus"
TEXT = """<ir_version: 9, opset_import: ["": 18]> g (float[n, 4] x) => (float[n, 4] y)
    { y = Softplus(x) }"""


def test_it_becomes_vectorized_operators() -> None:
    feeds: list[Feeds] = [
        {"x": floats(0, 4)},
        {"x": floats(3, 4)},
        {"x": 100 * floats(3, 4)},
        {"x": np.array([[0, 1e30, -1e30, 88.9]], np.float32)},
        {"x": np.array([[-3, -5, -7, -9]], np.float32)},
    ]
    result = rewritten(TEXT, [NAME], feeds)
    assert result.counts == {NAME: 1}
    assert "Softplus" not in result.operators


@pytest.mark.parametrize("x", [-4, -8, -12, -16, -17, -30, -80])
def test_small_results_are_as_exact(x: int) -> None:
    assert rewritten(TEXT, [NAME], [{"x": np.full((1, 4), x, np.float32)}]).counts == {NAME: 1}


def test_mish_is_taken_whole() -> None:
    text = TEXT.replace("y = Softplus(x)", "s = Softplus(x) t = Tanh(s) y = Mul(x, t)")
    result = rewritten(text, ["mish", NAME], [{"x": floats(3, 4)}])
    assert result.counts == {"mish": 1}


def test_other_types_are_refused() -> None:
    result = rewritten(TEXT.replace("float", "double"), [NAME], [])
    assert result.reason(NAME) == "it is not float32"
