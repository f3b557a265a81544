import numpy as np
import pytest

from tests.harness import floats, rewritten

NAME = "masked_scores"


def text(low: str = "-2.3726710e38", to: int = 1) -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, 2, 3, 4] x, bool[b, 1, 1, 4] m) => (float[b, 2, 3, 4] y) {{
    low = Constant<value_float={low}>() c = Cast<to=1>(m) k = Mul(c, x)
    n = Not(m) f = Cast<to={to}>(n) l = Mul(low, f) y = Add(k, l) }}"""


def feeds(batch: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(batch)
    mask = random.random((batch, 1, 1, 4)) < 0.5
    mask[:1] = False  # a row of which nothing is allowed
    return {"x": 100 * floats(batch, 2, 3, 4), "m": mask}


@pytest.mark.parametrize("low", ["-2.3726710e38", "-1e30"])
def test_what_is_forbidden_is_added(low: str) -> None:
    result = rewritten(text(low), [NAME], [feeds(batch) for batch in (0, 1, 3)])
    assert sorted(result.operators) == ["Add", "Where"]


@pytest.mark.parametrize("low", ["-10000.0", "2.0", "-inf"])
def test_numbers_in_which_scores_do_not_vanish_stay(low: str) -> None:
    assert rewritten(text(low), [NAME], []).counts == {}


def test_a_number_that_adds_axes_stays() -> None:
    source = text().replace("low = Constant<value_float=-2.3726710e38>()",
                            "low = Constant<value=float[1,1,1,1,1] {-1e38}>()")  # fmt: skip
    source = source.replace("(float[b, 2, 3, 4] y)", "(float[k, b, 2, 3, 4] y)")
    assert rewritten(source, [NAME], [feeds(1)]).counts == {}
