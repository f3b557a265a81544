import numpy as np
import pytest

from tests.harness import floats, rewritten
from tests.models import Feeds

NAME = "mask_alone"
CONSTANTS = """c = Constant<value_float=0.35355338>() e = Constant<value_float=2.828427>()
    zero = Constant<value_float=0.0>() low = Constant<value_float=-3.4028234663852886e38>()
    m = Where(keep, zero, low)"""
SCORES = {
    "plain": "z = MatMul(q, kt)",
    "scaled": "p = MatMul(q, kt) z = Mul(p, c)",
    "divided": "p = MatMul(q, kt) z = Div(p, e)",
}
BEHIND = {
    "multiplied": "s = Add(z, m) a = Mul(s, c)",
    "divided": "s = Add(m, z) a = Div(s, e)",
    "bounded": "s = Add(z, m) a = Max(s, low)",
    "positions first": "s = Add(z, further) a = Add(s, m)",
}


def text(scores: str, behind: str, more: str = "float[1, 3, 1, t] further") -> str:
    return f"""<ir_version: 11, opset_import: ["": 23]>
    g (float[b, 3, s, 8] q, float[b, 3, t, 8] k, float[b, 3, t, 8] v, bool[b, 1, s, t] keep, {more})
    => (float[b, 3, s, 8] y)
    {{ {CONSTANTS} kt = Transpose<perm=[0,1,3,2]>(k) {scores} {behind}
       w = Softmax<axis=-1>(a) y = MatMul(w, v) }}"""


def feeds(batch: int, queries: int, keys: int, row: int | None = None) -> Feeds:
    kept = np.random.default_rng(3).random((batch, 1, queries, keys)) > 0.3
    kept[..., 0] = True
    if row is not None:
        kept[:, :, row] = False
    return {
        "q": floats(batch, 3, queries, 8),
        "k": floats(batch, 3, keys, 8, seed=1),
        "v": floats(batch, 3, keys, 8, seed=2),
        "keep": kept,
        "further": floats(1, 3, 1, keys, seed=3),
    }


SIZES = [feeds(1, 1, 1), feeds(2, 5, 7), feeds(2, 5, 7, row=2), feeds(0, 3, 4)]


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND.keys())
@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES.keys())
def test_what_stands_behind_the_mask_is_done_to_the_mask(scores: str, behind: str) -> None:
    result = rewritten(text(scores, behind), [NAME], SIZES)
    assert result.counts == {NAME: 1}
    total = next(node for node in result.model.graph if node.op_type == "Softmax").inputs[0]
    assert total is not None
    assert (total.producer() or pytest.fail("an input")).op_type == "Add"


def test_a_bound_that_scores_reach_stays() -> None:
    behind = "s = Add(z, m) n = Constant<value_float=-10.0>() a = Max(s, n)"
    assert rewritten(text(SCORES["plain"], behind), [NAME], SIZES[:3]).counts == {}


def test_a_scale_that_is_no_constant_stays() -> None:
    behind = "s = Add(z, m) n = ReduceMax(further) a = Mul(s, n)"
    assert rewritten(text(SCORES["plain"], behind), [NAME], []).counts == {}
