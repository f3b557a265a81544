import pytest

from tests.harness import floats, rewritten

NAME = "expand_later"


def text(mask: str, more: str = "", masked: str = "m") -> str:
    return f"""<ir_version: 10, opset_import: ["": 23]>
    g (float[b, s, 8] q, float[b, s, 8] k, float[b, s, 8] v, float[b, 1, 1, s] x)
    => (float[b, s, 8] y{", float[b, one, t, s] z" if more else ""}) {{
    zero = Constant<value_float=0.0>() low = Constant<value_float=-1e9>()
    bound = Constant<value_float=-1e8>() one = Constant<value_ints=[1]>()
    n = Shape<start=1, end=2>(q) t = Concat<axis=0>(one, one, n, one)
    seen = Greater(x, zero) {mask} {more}
    y = Attention<q_num_heads=2, kv_num_heads=2>(q, k, v, {masked}) }}"""


FEEDS = [
    {name: floats(b, s, 8, seed=seed) for seed, name in enumerate("qkv")}
    | {"x": abs(floats(b, 1, 1, s, seed=4)) - 0.1}
    for b, s in ((1, 5), (3, 8), (2, 1))
]
_WHERE = "e = Expand(seen, t) m = Where(e, zero, low)"


@pytest.mark.parametrize(
    "mask",
    [
        _WHERE,
        "e = Expand(seen, t) w = Where(e, zero, low) m = Max(w, bound)",
        "e = Expand(x, t) m = Max(e, bound)",
    ],
)
def test_a_mask_is_made_as_a_row(mask: str) -> None:
    result = rewritten(text(mask), [NAME], FEEDS)
    order = result.operators
    assert order.index("Expand") > max(
        order.index(kind) for kind in ("Where", "Max") if kind in order
    )
    assert order.count("Expand") == 1


@pytest.mark.parametrize(
    "source",
    [
        text(_WHERE, "z = Neg(m)"),
        text(f"{_WHERE} h = Neg(m)", masked="h"),
    ],
)
def test_what_others_read_is_not_even_missed(source: str) -> None:
    result = rewritten(source, [NAME], FEEDS)
    assert result.counts == {}
    assert not result.near_misses


def test_a_bias_is_not_one_number() -> None:
    mask = "e = Expand(seen, t) m = Where(e, x, low)"
    result = rewritten(text(mask), [NAME], FEEDS)
    assert result.reason(NAME) == "it is filled with more than one number"
