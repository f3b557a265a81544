import pytest

from tests.harness import floats, rewritten

HEAD = '<ir_version: 10, opset_import: ["": 20]> g (float[n, 6] x) => (float[n, 6] y)'
CONSTANTS = """half = Constant<value_float=0.5>() one = Constant<value_float=1.0>()
    three = Constant<value_float=3.0>() k = Constant<value_float=0.044715>()
    s = Constant<value_float=0.7978845608>()"""
CUBES = {
    "pow": "c = Pow(x, three)",
    "products": "xx = Mul(x, x) c = Mul(x, xx)",
}
ENDS = {
    "half inside": "h = Mul(half, o) y = Mul(x, h)",
    "half last": "h = Mul(x, o) y = Mul(h, half)",
    "half first": "h = Mul(x, half) y = Mul(h, o)",
}
FEEDS = [{"x": floats(n, 6, seed=n)} for n in (1, 3)]


@pytest.mark.parametrize("cube", CUBES.values(), ids=CUBES.keys())
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_every_spelling_becomes_one_gelu(cube: str, end: str) -> None:
    middle = "kc = Mul(c, k) i = Add(x, kc) si = Mul(i, s) t = Tanh(si) o = Add(t, one)"
    result = rewritten(f"{HEAD} {{ {CONSTANTS} {cube} {middle} {end} }}", ["gelu_tanh"], FEEDS)
    assert result.operators == ["Gelu"]
    assert next(iter(result.model.graph)).attributes["approximate"].value == "tanh"


SQUARES = {
    "one by one": "kx = Mul(x, k) c = Mul(kx, x)",
    "squared": "xx = Mul(x, x) c = Mul(k, xx)",
}


@pytest.mark.parametrize("square", SQUARES.values(), ids=SQUARES.keys())
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_with_x_out_of_the_brackets(square: str, end: str) -> None:
    middle = "b = Add(one, c) sx = Mul(s, x) i = Mul(sx, b) t = Tanh(i) o = Add(t, one)"
    result = rewritten(f"{HEAD} {{ {CONSTANTS} {square} {middle} {end} }}", ["gelu_tanh"], FEEDS)
    assert result.operators == ["Gelu"]


def test_another_factor_is_no_gelu() -> None:
    body = f"""{CUBES["pow"]} kc = Mul(c, k) i = Add(x, kc) si = Mul(i, s) t = Tanh(si)
    o = Add(t, one) {ENDS["half last"]}"""
    text = f"{HEAD} {{ {CONSTANTS.replace('0.044715', '0.05')} {body} }}"
    assert rewritten(text, ["gelu_tanh"], FEEDS).counts == {}
