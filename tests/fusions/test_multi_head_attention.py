import numpy as np
import pytest

from tests.harness import floats, rewritten
from tests.models import Feeds

NAME = "multi_head_attention"
CASES = ((1, 1), (2, 5), (1, 3))
HEADS = "q_num_heads=4, kv_num_heads=4"


def text(inputs: str = "", said: str = "", mask: str = "", body: str = "") -> str:
    return f"""<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]>
    g (float[b, s, 16] x{inputs}) => (float[b, s, 16] y) <float[b, 1, s, s] lifted> {{ {body}
    k = Neg(x) v = Abs(x) y = Attention<{HEADS}{said}>(x, k, v{mask}) }}"""


def feeds(**more: str) -> list[Feeds]:
    found = []
    for b, s in CASES:
        feed: Feeds = {"x": floats(b, s, 16)}
        for name, kind in more.items():
            shape = (b, 1, s, s) if "b" in kind else (s, s)
            feed[name] = np.where(floats(*shape, seed=3) > 0, np.float32(-3.4028235e38), 0)
            feed[name] = feed[name].astype(np.float32)
        found.append(feed)
    return found


LIFT = "low = Constant<value_float=-3e38>() lifted = Max(m, low)"


@pytest.mark.parametrize("said", ["", ", scale=0.3", ", is_causal=1"])
def test_heads_without_a_mask(said: str) -> None:
    result = rewritten(text(said=said), [NAME], feeds())
    assert result.operators == ["Neg", "Abs", "MultiHeadAttention"]


def test_a_mask_whose_lowest_numbers_were_lifted() -> None:
    source = text(", float[b, 1, s, s] m", mask=", lifted", body=LIFT)
    result = rewritten(source, [NAME], feeds(m="b"))
    assert result.operators == ["Max", "Neg", "Abs", "MultiHeadAttention"]


def test_a_mask_of_two_axes_gets_four() -> None:
    source = text(", float[s, s] m", mask=", lifted", body=LIFT).replace("[b, 1, s, s]", "[s, s]")
    result = rewritten(source, [NAME], feeds(m="s"))
    assert result.operators == ["Max", "Neg", "Abs", "Unsqueeze", "MultiHeadAttention"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            text(", float[b, 1, s, s] m", mask=", m"),
            "its mask may forbid all keys of a query",
        ),
        (
            text(", bool[b, 1, s, s] m", mask=", m"),
            "its mask is not of the type of its input",
        ),
        (
            text(", float[1, 1] m", mask=", m"),
            "its mask is not known to have a number for every query and key",
        ),
        (text(said=", softcap=2.0"), "it bounds or gives out its scores"),
    ],
)
def test_what_the_operator_does_otherwise_is_refused(source: str, reason: str) -> None:
    assert rewritten(source, [NAME], []).reason(NAME) == reason


def test_grouped_queries_are_refused() -> None:
    source = (
        text()
        .replace("kv_num_heads=4", "kv_num_heads=2")
        .replace("float[b, s, 16] y", "float[b, s, m] y")
    )
    reason = "its queries and keys do not have the same number of heads"
    assert rewritten(source, [NAME], []).reason(NAME) == reason
