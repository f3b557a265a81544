import numpy as np
import pytest

from tests.harness import floats, rewritten
from tests.models import Feeds

HEADS = "float[b, 3, s, 8] q, float[b, 3, t, 8] k, float[b, 3, t, 8] v"
CONSTANTS = """f = Constant<value_float=0.59460355>() e = Constant<value_float=2.828427>()
    c = Constant<value_float=0.35355338>() zero = Constant<value_float=0.0>()
    low = Constant<value_float=-3.4028234663852886e38>() minus = Constant<value_float=-1.0>()
    none = Div(minus, zero)"""
SCORES = {
    "both scaled": "qf = Mul(q, f) kf = Mul(kt, f) z = MatMul(qf, kf)",
    "divided": "p = MatMul(q, kt) z = Div(p, e)",
    "multiplied": "p = MatMul(q, kt) z = Mul(c, p)",
    "query divided": "qf = Div(q, e) z = MatMul(qf, kt)",
    "unscaled": "z = MatMul(q, kt)",
}
ENDS = {
    "plain": "w = Softmax<axis=-1>(a) y = MatMul(w, v)",
    "guarded": "r = Softmax(a) n = IsNaN(r) w = Where(n, zero, r) y = MatMul(w, v)",
}


def text(scores: str, mask: str, end: str, inputs: str = "") -> str:
    return f"""<ir_version: 11, opset_import: ["": 23]> g ({HEADS}{inputs})
    => (float[b, 3, s, 8] y)
    {{ {CONSTANTS} kt = Transpose<perm=[0,1,3,2]>(k) {scores} {mask} {end} }}"""


def feeds(batch: int, queries: int, keys: int, **more: np.ndarray) -> Feeds:
    return {
        "q": floats(batch, 3, queries, 8),
        "k": floats(batch, 3, keys, 8, seed=1),
        "v": floats(batch, 3, keys, 8, seed=2),
        **more,
    }


SIZES = [feeds(1, 1, 1), feeds(2, 5, 7)]


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES.keys())
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_every_spelling_without_a_mask(scores: str, end: str) -> None:
    result = rewritten(text(scores.replace("z =", "a ="), "", end), ["attention"], SIZES)
    assert result.counts == {"attention": 1}
    assert "Softmax" not in result.operators


def masked(fill: str, end: str, shape: str = "b, 1, s, t") -> str:
    mask = f"m = Where(keep, zero, {fill}) a = Add(z, m)"
    return text(SCORES["divided"], mask, ENDS[end], f", bool[{shape}] keep")


def keep(*shape: int, row: int | None = None) -> np.ndarray:
    kept = np.random.default_rng(3).random(shape) > 0.3
    kept[..., 0] = True
    if row is not None:
        kept[:, :, row] = False
    return kept


@pytest.mark.parametrize(
    ("fill", "end"), [("low", "plain"), ("low", "guarded"), ("none", "guarded")]
)
def test_a_row_that_forbids_every_key_gives_what_it_gave(fill: str, end: str) -> None:
    sizes = [feeds(2, 5, 7, keep=keep(2, 1, 5, 7)), feeds(2, 5, 7, keep=keep(2, 1, 5, 7, row=2))]
    result = rewritten(masked(fill, end), ["attention"], sizes)
    assert result.counts == {"attention": 1}
    assert ("Max" in result.operators) == (fill == "low")


def test_one_mask_row_for_all_queries_is_expanded_for_the_kernel() -> None:
    sizes = [feeds(2, 5, 7, keep=keep(2, 1, 1, 7)), feeds(1, 1, 3, keep=keep(1, 1, 1, 3))]
    result = rewritten(masked("low", "plain", "b, 1, 1, t"), ["attention"], sizes)
    assert result.counts == {"attention": 1}
    assert "Expand" in result.operators


def test_a_mask_from_outside_behind_a_guard_is_refused() -> None:
    source = text(SCORES["divided"], "a = Add(z, m)", ENDS["guarded"], ", float[b, 1, s, t] m")
    sizes = [feeds(2, 5, 7, m=np.where(keep(2, 1, 5, 7), 0, -1e4).astype(np.float32))]
    result = rewritten(source, ["attention"], sizes)
    assert "comes from outside" in result.reason("attention")


def test_a_mask_from_outside_without_a_guard_is_taken() -> None:
    source = text(SCORES["divided"], "a = Add(z, m)", ENDS["plain"], ", float[b, 1, s, t] m")
    low = np.finfo(np.float32).min
    for fill in (low, -1e9, -1e4):
        mask = np.where(keep(2, 1, 5, 7, row=1), 0, fill).astype(np.float32)
        assert rewritten(source, ["attention"], [feeds(2, 5, 7, m=mask)]).counts == {"attention": 1}


TWO_MASKS = ", bool[b, 1, s, t] keep, bool[1, 1, s, t] seen"


@pytest.mark.parametrize("second", ["low", "none"])
def test_what_two_masks_forbid_has_no_share_beside_what_one_forbids(second: str) -> None:
    mask = f"""m1 = Where(keep, zero, low) m2 = Where(seen, zero, {second})
    m = Add(m1, m2) a = Add(z, m)"""
    source = text(SCORES["divided"], mask, ENDS["plain"], TWO_MASKS)
    seen = np.tri(5, 5, dtype=bool)[None, None]
    sizes = [feeds(2, 5, 5, keep=keep(2, 1, 5, 5, row=row), seen=seen) for row in (None, 2)]
    result = rewritten(source, ["attention"], sizes)
    assert result.counts == {"attention": 1}
    assert "IsInf" in result.operators


def test_positions_beside_a_mask_are_no_second_mask() -> None:
    mask = "m1 = Where(keep, zero, low) m = Add(m1, far) a = Add(z, m)"
    inputs = ", bool[b, 1, s, t] keep, int64[3, 1, t] steps"
    cast = "far = Cast<to=1>(steps)"
    source = text(SCORES["divided"], f"{cast} {mask}", ENDS["plain"], inputs)
    steps = np.random.default_rng(0).integers(0, 9, (3, 1, 7))
    result = rewritten(source, ["attention"], [feeds(2, 5, 7, keep=keep(2, 1, 5, 7), steps=steps)])
    assert result.counts == {"attention": 1}
    assert "IsInf" not in result.operators


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_positions_computed_from_the_queries_forbid_nothing(end: str) -> None:
    mask = "m = MatMul(q, far) a = Add(z, m)"
    source = text(SCORES["divided"], mask, end, ", float[b, 3, 8, t] far")
    sizes = [feeds(2, 5, 7, far=floats(2, 3, 8, 7, seed=5))]
    result = rewritten(source, ["attention"], sizes)
    assert result.counts == {"attention": 1}
    assert "Max" not in result.operators


HEADWISE = "by = Constant<value=float[{}] {{0.5, 2.0, 10.0}}>() p = MatMul(q, kt) a = Mul({}, {})"


@pytest.mark.parametrize("order", [("p", "by"), ("by", "p")])
@pytest.mark.parametrize("shape", ["3,1,1", "1,3,1,1"])
def test_a_scale_for_each_head_goes_to_the_queries(shape: str, order: tuple[str, str]) -> None:
    source = text(HEADWISE.format(shape, *order), "", ENDS["plain"])
    result = rewritten(source, ["attention"], SIZES)
    assert result.counts == {"attention": 1}
    assert "Softmax" not in result.operators


def test_a_scale_for_each_query_is_refused() -> None:
    source = text(HEADWISE.format("1,1,3,1", "p", "by"), "", ENDS["plain"])
    result = rewritten(source, ["attention"], [feeds(2, 3, 7)])
    assert result.reason("attention") == "a scale is not a constant number"


def test_softmax_over_another_axis_is_no_attention() -> None:
    source = text(SCORES["divided"].replace("z =", "a ="), "", ENDS["plain"]).replace(
        "axis=-1", "axis=1"
    )
    assert rewritten(source, ["attention"], SIZES).counts == {}
