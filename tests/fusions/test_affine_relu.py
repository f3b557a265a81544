import pytest

from tests.harness import floats, rewritten

NAME = "affine_relu"
FEEDS = [{"x": floats(n, 3, h, 5)} for n, h in ((1, 3), (2, 4), (0, 3))]


def text(
    behind: str = "m = Mul(r, s) y = Add(m, c)",
    s: str = "float[1] s = {1.5}",
    c: str = "float[1] c = {-0.25}",
    conv: str = "Conv<pads=[1, 1, 1, 1]>(x, w, b)",
) -> str:
    return f"""<ir_version: 10, opset_import: ["": 17]>
    g (float[n, 3, h, 5] x) => (float[n, 8, i, j] y)
    <float[8, 3, 3, 3] w, float[8] b, {s}, {c}> {{ z = {conv} r = Relu(z) {behind} }}"""


@pytest.mark.parametrize("factor", ["1.5", "-0.75", "0"])
@pytest.mark.parametrize("conv", ["Conv<pads=[1, 1, 1, 1]>(x, w, b)", "Conv(x, w)"])
@pytest.mark.parametrize(
    ("behind", "last"),
    [
        ("m = Mul(r, s) y = Add(m, c)", "Clip"),
        ("m = Mul(s, r) y = Add(c, m)", "Clip"),
        ("y = Add(r, c)", "Clip"),
        ("y = Mul(r, s)", "Relu"),
    ],
)
def test_the_convolution_takes_the_affine_along(
    factor: str, conv: str, behind: str, last: str
) -> None:
    source = text(behind, s=f"float[1] s = {{{factor}}}", conv=conv)
    result = rewritten(source, [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    negative = factor.startswith("-") and "Mul" in behind
    assert result.operators == ["Conv", "Clip" if negative else last]


@pytest.mark.parametrize("shape", ["float", "float[1, 1, 1]", "float[1, 1, 1, 1]"])
def test_shapes_of_a_number(shape: str) -> None:
    result = rewritten(text(c=f"{shape} c = {{0.5}}"), [NAME], FEEDS)
    assert result.counts == {NAME: 1}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(c="float[5] c"), "the factor or what is added is not one number for the map"),
        (text(c="float[1, 1, 1, 1, 1] c = {0.5}").replace("float[n, 8", "float[a, n, 8"),
         "the factor or what is added is not one number for the map"),
        (text(conv="Conv(x, v, b)", behind="v = Abs(w) m = Mul(r, s) y = Add(m, c)"), ""),
    ],
)  # fmt: skip
def test_what_is_left(source: str, reason: str) -> None:
    if "Abs" in source:
        source = source.replace("v = Abs(w) ", "").replace("{ z =", "{ v = Abs(w) z =")
        reason = "it is not float32 with a constant weight"
    assert rewritten(source, [NAME], []).reason(NAME) == reason


def test_what_others_read_is_left() -> None:
    source = text("m = Mul(r, s) o = Add(m, c) y = Add(o, r)")
    assert not rewritten(source, [NAME], FEEDS[:2]).counts
