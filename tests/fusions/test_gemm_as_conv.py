import numpy as np
import pytest

from modelkit.fusions.linear_as_conv import EMPTY
from tests.harness import floats, rewritten

NAME = "gemm_as_conv"
FEEDS = [{"x": floats(n, 1024)} for n in (1, 5)]
MADE = ["Unsqueeze", "Transpose", "Conv", "Transpose", "Squeeze"]


def text(body: str, weight: str = "1024, 1032", bias: str = "1032", rows: str = "n, 1024") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]> g (float[{rows}] x) => (float[n, m] y)
    <float[{weight}] w, float[{bias}] b> {{ {body} }}"""


@pytest.mark.parametrize(
    "source",
    [
        text("y = Gemm(x, w, b)"),
        text("y = Gemm<transB=1>(x, w, b)", "1032, 1024"),
        text("y = Gemm<beta=0.5>(x, w)"),
        text("y = MatMul(x, w)"),
    ],
)
def test_a_linear_layer_of_a_matrix_becomes_a_convolution(source: str) -> None:
    assert rewritten(source, [NAME], FEEDS).operators == MADE


def test_what_stands_between_two_layers_is_computed_in_the_image() -> None:
    source = text("h = Gemm(x, w, b) t = Tanh(h) y = Gemm<transB=1>(t, w, b)", "1024, 1024", "1024")
    result = rewritten(source, [NAME, "activation_as_image"], FEEDS)
    assert result.operators == [*MADE[:3], "Tanh", *MADE[3:], *MADE]


def test_the_layer_behind_a_flattened_map() -> None:
    source = text("f = Flatten(x) y = Gemm(f, w, b)", rows="n, 64, 4, 4")
    feeds = [{"x": floats(n, 64, 4, 4)} for n in (1, 3)]
    assert rewritten(source, [NAME], feeds).operators == ["Flatten", *MADE]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text("y = Gemm<alpha=2.0>(x, w, b)"), "it scales or transposes"),
        (text("y = Gemm<beta=0.5>(x, w, b)"), "it scales or transposes"),
        (text("y = Gemm(x, w, b)", bias="1"), "its bias is not a constant vector"),
        (
            text("y = Gemm(x, w, b)", "1024, 992", "992"),
            "its weights are so few that they stay in the cache, or it is narrow",
        ),
        (
            text("y = Gemm(x, w, b)", "8192, 240", "240", "n, 8192"),
            "its weights are so few that they stay in the cache, or it is narrow",
        ),
        (
            text("y = Gemm(x, w, b)", "1032, 1032", rows="n, 1032"),
            "its input is no multiple of 16 wide",
        ),
        (
            text("y = Gemm(x, w, b)")
            .replace("> {", "> { i = Identity(w)")
            .replace("x, w,", "x, i,"),
            "its weight is not a constant matrix",
        ),
    ],
)
def test_what_would_not_gain_or_is_no_layer_is_refused(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], [])
    assert result.reason(NAME) == reason


def test_sequences_are_left_to_linear_as_conv() -> None:
    result = rewritten(
        text("y = MatMul(x, w)", rows="n, s, 1024").replace("[n, m]", "[n, s, m]"), [NAME], []
    )
    assert not result.counts


def test_rows_that_are_counted_while_the_model_runs_are_refused() -> None:
    found = "z = NonZero(m) i = Squeeze(z, zero) f = Gather(x, i) y = Gemm(f, w, b)"
    source = (
        text(found).replace("1024] x)", "1024] x, bool[n] m)").replace("=> (float[n", "=> (float[k")
    )
    source = source.replace("> {", ", int64[1] zero = {0}> {")
    feeds = [{"x": floats(3, 1024), "m": np.array(m)} for m in ([True, False, True], [False] * 3)]
    result = rewritten(source, [NAME], feeds)
    assert result.reason(NAME) == EMPTY
