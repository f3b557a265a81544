import pytest

from tests.harness import floats, rewritten

HEAD = '<ir_version: 10, opset_import: ["": 20]> g (float[n, 6] x) => (float[n, 6] y'
CONSTANTS = """half = Constant<value_float=0.5>() one = Constant<value_float=1.0>()
    root = Constant<value_float=1.4142135>() inverse = Constant<value_float=0.70710677>()"""
FEEDS = [{"x": floats(n, 6, seed=n)} for n in (0, 1, 3)]

SPELLINGS = {
    "captured": "d = Div(x, root) e = Erf(d) a = Add(e, one) h = Mul(half, a) y = Mul(x, h)",
    "traced": "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "half first": "d = Div(x, root) e = Erf(d) a = Add(one, e) m = Mul(half, x) y = Mul(a, m)",
    "of Keras": "m = Mul(half, x) n = Neg(x) d = Mul(n, inverse) e = Erf(d) a = Sub(one, e)"
    " y = Mul(m, a)",
    "of minus x": "n = Neg(x) d = Div(n, root) e = Erf(d) a = Sub(one, e) h = Mul(half, a)"
    " y = Mul(h, x)",
    "multiplied": "d = Mul(inverse, x) e = Erf(d) a = Add(one, e) h = Mul(a, half) y = Mul(h, x)",
}


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_spelling_becomes_one_gelu(body: str) -> None:
    result = rewritten(f"{HEAD}) {{ {CONSTANTS} {body} }}", ["gelu_erf"], FEEDS)
    assert result.counts == {"gelu_erf": 1}
    assert result.operators == ["Gelu"]


def test_a_part_that_is_an_output_stays() -> None:
    text = f"{HEAD}, float[n, 6] e) {{ {CONSTANTS} {SPELLINGS['captured']} }}"
    result = rewritten(text, ["gelu_erf"], FEEDS)
    assert result.counts == {}
    assert result.reason("gelu_erf") == "'e' is an output of the graph"


def test_a_part_that_is_read_elsewhere_stays() -> None:
    text = f"{HEAD}, float[n, 6] z) {{ {CONSTANTS} {SPELLINGS['captured']} z = Neg(a) }}"
    result = rewritten(text, ["gelu_erf"], FEEDS)
    assert result.reason("gelu_erf") == "'a' is read elsewhere too"


@pytest.mark.parametrize(
    ("old", "new"), [("1.4142135", "1.5"), ("value_float=1.0", "value_float=1.1")]
)
def test_other_numbers_are_no_gelu(old: str, new: str) -> None:
    text = f"{HEAD}) {{ {CONSTANTS} {SPELLINGS['captured']} }}".replace(old, new)
    assert rewritten(text, ["gelu_erf"], FEEDS).counts == {}


def test_a_constant_of_higher_rank_is_not_dropped() -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[6] x) => (float[1, 6] y) {
    half = Constant<value = float[1, 1] {0.5}>() one = Constant<value_float=1.0>()
    root = Constant<value_float=1.4142135>()
    d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half) }"""
    assert rewritten(text, ["gelu_erf"], [{"x": floats(6)}]).counts == {}


def test_a_subgraph_is_rewritten_too() -> None:
    text = f"""<ir_version: 10, opset_import: ["": 20]>
    g (bool c, float[2, 6] x) => (float[2, 6] y) {{
    y = If (c) <then_branch = t () => (float[2, 6] p) {{ {CONSTANTS}
        {SPELLINGS["captured"].replace("y =", "p =")} }},
        else_branch = f () => (float[2, 6] q) {{ q = Neg(x) }}> }}"""
    import numpy as np

    feeds = [{"c": np.array(flag), "x": floats(2, 6)} for flag in (True, False)]
    assert rewritten(text, ["gelu_erf"], feeds).counts == {"gelu_erf": 1}
