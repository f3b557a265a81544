import numpy as np
import pytest

from tests.harness import floats, rewritten
from tests.models import Feeds

NAME = "prelu"
FEEDS: list[Feeds] = [{"x": floats(n, 3, 2, 2)} for n in (0, 1, 3)]


def text(slope: str, kind: str = "float") -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]> g ({kind}[n, 3, 2, 2] x)
    => ({kind}[n, 3, 2, 2] y) <{kind}{slope}> {{ y = PRelu(x, s) }}"""


@pytest.mark.parametrize("slope", ["[3, 1, 1] s = {0.1, 0.0, -0.5}", "[2] s = {0.25, 3.0}"])
def test_a_slope_a_channel_becomes_products(slope: str) -> None:
    result = rewritten(text(slope), [NAME], FEEDS)
    assert sorted(result.operators) == ["Add", "Mul", "Mul", "Relu"]


@pytest.mark.parametrize("slope", ["[1] s = {0.2}", " s = {0.2}", "[3, 1, 1] s = {0.2, 0.2, 0.2}"])
def test_one_slope_is_that_of_a_leaky_relu(slope: str) -> None:
    assert rewritten(text(slope), [NAME], FEEDS).operators == ["LeakyRelu"]


def test_zero_stays_zero_and_large_numbers_keep_their_size() -> None:
    x = np.array([0.0, -0.0, 1e30, -1e30, 1e-30, -1e-30], np.float32)
    feeds: list[Feeds] = [{"x": np.resize(x, (2, 3, 2, 2))}]
    rewritten(text("[3, 1, 1] s = {0.1, 0.7, -0.5}"), [NAME], feeds)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text("[3, 1, 1] s = {0.1, 0.2, 5.0}"), "its slope is too steep"),
        (text("[1] s = {0.1}", "double"), "it is not float32"),
        (
            text("[1] s = {0.1}").replace("x)", "x, float[3, 1, 1] t)").replace("x, s", "x, t"),
            "its slope is not constant",
        ),
    ],
)
def test_what_would_not_be_equal_is_refused(source: str, reason: str) -> None:
    assert rewritten(source, [NAME], []).reason(NAME) == reason
