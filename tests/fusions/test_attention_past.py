import numpy as np
import pytest

from tests.harness import floats, rewritten

HEAD = """<ir_version: 11, opset_import: ["": 23]>
    g (float[b, 4, s, 8] q, float[b, 2, s, 8] k, float[b, 2, s, 8] v,
       float[b, 2, p, 8] pk, float[b, 2, p, 8] pv, float[b, 1, s, t] m)
    => (float[b, 4, s, 8] y, float[b, 2, t, 8] keys, float[b, 2, t, 8] values)"""


def feeds(*sizes: tuple[int, int, int]) -> list[dict[str, np.ndarray]]:
    return [
        {
            "q": floats(batch, 4, length, 8),
            "k": floats(batch, 2, length, 8, seed=1),
            "v": floats(batch, 2, length, 8, seed=2),
            "pk": floats(batch, 2, past, 8, seed=3),
            "pv": floats(batch, 2, past, 8, seed=4),
            "m": np.where(floats(batch, 1, length, past + length) > 1, -np.inf, 0).astype("f4"),
        }
        for batch, length, past in sizes
    ]


FEEDS = feeds((1, 1, 0), (1, 1, 7), (2, 3, 5))


@pytest.mark.parametrize("axis", [-2, 2])
@pytest.mark.parametrize("mask", [", m", ""])
def test_the_operator_appends_to_its_caches(axis: int, mask: str) -> None:
    text = f"""{HEAD} {{ keys = Concat<axis={axis}>(pk, k) values = Concat<axis={axis}>(pv, v)
        y = Attention<scale=0.3>(q, keys, values{mask}) }}"""
    result = rewritten(text, ["attention_past"], FEEDS)
    assert result.operators == ["Attention"]


def test_a_cache_the_mask_is_made_from_is_refused() -> None:
    text = f"""{HEAD} {{ keys = Concat<axis=2>(pk, k) values = Concat<axis=2>(pv, v)
        n = ReduceSum<keepdims=0>(keys) x = Add(m, n) y = Attention(q, keys, values, x) }}"""
    result = rewritten(text, ["attention_past"], feeds((1, 1, 7)))
    assert result.reason("attention_past") == "'keys' is also read on the way to 'y'"


def test_along_another_axis_it_is_no_cache() -> None:
    text = """<ir_version: 11, opset_import: ["": 23]>
    g (float[b, 4, s, 8] q, float[b, 2, s, 8] k, float[b, 2, s, 8] pk)
    => (float[b, 4, s, 8] y) { keys = Concat<axis=1>(pk, k) y = Attention(q, keys, keys) }"""
    inputs = {"q": floats(1, 4, 3, 8), "k": floats(1, 2, 3, 8), "pk": floats(1, 2, 3, 8)}
    assert not rewritten(text, ["attention_past"], [inputs]).counts


def test_constant_keys_are_refused() -> None:
    text = """<ir_version: 11, opset_import: ["": 23]>
    g (float[1, 2, s, 8] q, float[1, 2, s, 8] k, float[1, 2, s, 8] v) => (float[1, 2, s, 8] y)
    <float[1, 2, 1, 8] pk, float[1, 2, 1, 8] pv>
    { keys = Concat<axis=2>(pk, k) values = Concat<axis=2>(pv, v) y = Attention(q, keys, values) }"""
    inputs = {name: floats(1, 2, 3, 8, seed=seed) for seed, name in enumerate("qkv")}
    result = rewritten(text, ["attention_past"], [inputs])
    assert result.reason("attention_past") == "its past key is a constant"
