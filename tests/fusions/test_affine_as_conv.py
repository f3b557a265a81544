import pytest

from tests.harness import floats, rewritten

NAME = "affine_as_conv"
FEEDS = [{"x": floats(n, 4, h, 5)} for n, h in ((1, 3), (2, 4), (3, 3))]


def text(
    body: str = "m = Mul(r, s) a = Add(m, c)",
    s: str = "float[8, 1, 1] s",
    c: str = "float[1] c = {-0.25}",
    first: str = "z = Conv(x, w, b) q = Relu(z) r = Mul(q, q)",
    last: str = "y = Conv<group=8, pads=[1, 1, 1, 1]>(a, v)",
    width: int = 8,
) -> str:
    return f"""<ir_version: 10, opset_import: ["": 18]>
    g (float[n, 4, h, 5] x) => (float[n, o, i, j] y)
    <float[{width}, 4, 1, 1] w, float[{width}] b, float[{width}, 1, 3, 3] v, {s}, {c}>
    {{ {first} {body} {last} }}"""


@pytest.mark.parametrize(
    "body",
    [
        "m = Mul(r, s) a = Add(m, c)",
        "m = Mul(s, r) a = Add(c, m)",
        "a = Mul(r, s)",
        "a = Add(r, c)",
    ],
)
@pytest.mark.parametrize("c", ["float c = {2.0}", "float[1, 8, 1, 1] c"])
def test_the_map_stays_in_the_layout(body: str, c: str) -> None:
    result = rewritten(text(body, c=c), [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators == ["Conv", "Relu", "Mul", "Conv", "Conv"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(s="float[5] s"), "the factor or what is added differs within a channel"),
        (text(last="y = Exp(a)"), "what reads it is no convolution"),
        (
            text(width=6, s="float[6, 1, 1] s", last="y = Conv<group=6>(a, v)"),
            "its channels are not a multiple of 4",
        ),
    ],
)
def test_what_is_left(source: str, reason: str) -> None:
    assert rewritten(source, [NAME], []).reason(NAME) == reason


@pytest.mark.parametrize(
    "first",
    [
        "z = Conv(x, w, b) r = Exp(z)",  # out of the layout
        "k = Conv(x, w, b) i = Relu(k) t = Shape(i) r = Reshape(i, t)",
    ],
)
def test_maps_that_no_convolution_makes_are_left(first: str) -> None:
    assert not rewritten(text(first=first), [NAME], FEEDS).counts


def test_gates_that_are_computed_are_left() -> None:
    first = "z = Conv(x, w, b) r = Relu(z) s2 = GlobalAveragePool(r)"
    assert not rewritten(text("a = Mul(r, s2)", first=first), [NAME], FEEDS).counts
