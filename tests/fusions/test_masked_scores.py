import numpy as np
import pytest

from modelkit.passes.infer_symbols import infer_symbols
from modelkit.rewrite import apply
from tests.harness import floats, fusion, rewritten
from tests.passes.harness import run

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


def twice(low: str = "-1e9", none: str = "0.0", v: str = "y = Identity(z)") -> str:
    """Keras' Softmax layer: what is forbidden gets no share, also where nothing is allowed."""
    source = text(low).replace("y = Add(k, l)", "o = Add(k, l) w = Softmax<axis=-1>(o)")
    return source.replace(
        " }",
        f""" none = Constant<value_float={none}>() r = Mul(w, c) d = Mul(none, f)
        z = Add(r, d) {v} }}""",
    )


@pytest.mark.parametrize("low", ["-1e9", "-3.4028234663852886e38"])
def test_shares_that_are_forbidden_again_are_zeros(low: str) -> None:
    result = rewritten(twice(low), [NAME], [feeds(batch) for batch in (0, 1, 3)])
    assert sorted(result.operators) == ["Add", "Identity", "IsNaN", "Softmax", "Where", "Where"]


@pytest.mark.parametrize("source", [twice("-1e8"), twice(none="1.0")])
def test_shares_of_others_stay(source: str) -> None:
    assert rewritten(source, [NAME], [feeds(3)]).counts == {}


def test_attention_makes_zeros_of_rows_without_a_key() -> None:
    source = twice(v="y = MatMul(z, v)").replace('"": 18', '"": 23')
    source = source.replace("float[b, 2, 3, 4] x,", "float[b, 2, 3, 8] q, float[b, 2, 8, 4] k0,")
    source = source.replace("1, 4] m)", "1, 4] m, float[b, 2, 4, 8] v)")
    source = source.replace("float[b, 2, 3, 4] y", "float[b, 2, 3, 8] y")
    source = source.replace("low = Constant", "x = MatMul(q, k0) low = Constant", 1)
    trials = [
        {"q": floats(b, 2, 3, 8), "k0": floats(b, 2, 8, 4), "m": feeds(b)["m"],
         "v": floats(b, 2, 4, 8)}
        for b in (1, 3)
    ]  # fmt: skip
    model = rewritten(source, [NAME], trials).model
    before = model.clone()
    infer_symbols(model)
    apply([fusion("attention")], model, allow=lambda found: None)
    assert "Attention" in [node.op_type for node in model.graph]
    for values in trials:
        (old,), (new,) = run(before, values), run(model, values)
        np.testing.assert_allclose(new, old, atol=1e-6)
        assert not new[0].any()  # nothing is allowed there


def test_a_number_that_adds_axes_stays() -> None:
    source = text().replace("low = Constant<value_float=-2.3726710e38>()",
                            "low = Constant<value=float[1,1,1,1,1] {-1e38}>()")  # fmt: skip
    source = source.replace("(float[b, 2, 3, 4] y)", "(float[k, b, 2, 3, 4] y)")
    assert rewritten(source, [NAME], [feeds(1)]).counts == {}


SCORES = """kt = Transpose<perm=[0,1,3,2]>(k) p = MatMul(q, kt)
    half = Constant<value_float=0.5>() x = Mul(p, half)"""
CHOICES = {
    "what is allowed": "o = Where(m, x, low)",
    "what is forbidden": "n = Not(m) o = Where(n, low, x)",
    "without a scale": "o = Where(m, p, low)",
    "before another mask": "a = Where(m, x, low) o = Add(a, far)",
    "of everything": "n = Not(m) h = Expand(n, full) o = Where(h, low, x)",
}


def replaced(choice: str, low: str = "-3.4028234663852886e38", end: str = "") -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, 2, 3, 8] q, float[b, 2, 4, 8] k, bool[1, 1, 3, 4] m, float[1, 2, 1, 4] far)
    => (float[b, 2, 3, 4] y) {{
    low = Constant<value_float={low}>() full = Constant<value_ints=[1, 1, 3, 4]>()
    {SCORES} {choice} {end or "y = Softmax<axis=-1>(o)"} }}"""


def chosen(batch: int) -> dict[str, np.ndarray]:
    mask = np.tri(3, 4, dtype=bool)[None, None]
    mask[..., 1, :] = False  # a row of which nothing is allowed
    return {
        "q": floats(batch, 2, 3, 8),
        "k": floats(batch, 2, 4, 8, seed=1),
        "m": mask,
        "far": floats(1, 2, 1, 4, seed=2),
    }


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
def test_scores_that_are_replaced(choice: str) -> None:
    result = rewritten(replaced(choice), [NAME], [chosen(batch) for batch in (0, 1, 3)])
    assert result.counts == {NAME: 1}
    wheres = [node for node in result.model.graph if node.op_type == "Where"]
    assert "x" not in {value.name for value in wheres[0].inputs if value is not None}


def test_scores_that_are_replaced_by_nothing_at_all() -> None:
    feeds = [{**chosen(batch), "m": np.tri(3, 4, dtype=bool)[None, None]} for batch in (1, 3)]
    source = replaced(CHOICES["what is allowed"], "-inf")
    assert rewritten(source, [NAME], feeds).counts == {NAME: 1}


@pytest.mark.parametrize(
    ("choice", "low", "end"),
    [
        (CHOICES["what is allowed"], "-10000.0", ""),
        (CHOICES["what is allowed"], "3e38", ""),
        (CHOICES["what is allowed"], "-1e38", "y = Relu(o)"),
        (CHOICES["what is allowed"], "-1e38", "s = Softmax<axis=-1>(o) y = Add(s, o)"),
        ("e = Exp(far) d = Expand(e, full) o = Where(m, d, low)", "-1e38", ""),
    ],
    ids=["number", "highest", "no softmax", "read twice", "no product"],
)
def test_other_choices_stay(choice: str, low: str, end: str) -> None:
    source = replaced(choice, low, end)
    if "d = Expand" in choice:
        source = source.replace("(float[b, 2, 3, 4] y)", "(float[1, 2, 3, 4] y)")
    assert rewritten(source, [NAME], []).counts == {}
