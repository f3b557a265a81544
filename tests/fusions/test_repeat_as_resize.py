import numpy as np
import pytest

from tests.harness import floats, rewritten

NAME = "repeat_as_resize"
STARTS = {
    "moved": """u = Unsqueeze(x, three) t = Tile(u, r) p = Transpose<perm=[0, 2, 3, 4, 1]>(t)
    a = Reshape(p, s)""",
    "plain": """p = Transpose<perm=[0, 2, 3, 1]>(x) u = Unsqueeze(p, two) t = Tile(u, q)
    a = Reshape(t, s)""",
}
FIXED = ("s = Constant<value_ints=[0, 10, 3, 4]>()", "z = Constant<value_ints=[0, 10, 9, 4]>()")
OPEN = (
    """d = Shape(x) n = Gather(d, zero) h = Gather(d, two) w = Gather(d, three) c = Gather(d, one)
    hh = Mul(h, two) ww = Mul(w, three) s = Concat<axis=0>(n, hh, w, c)""",
    """ad = Shape(a) an = Gather(ad, zero) ah = Gather(ad, one) ac = Gather(ad, three)
    z = Concat<axis=0>(an, ah, ww, ac)""",
)
END = "y = Transpose<perm=[0, 3, 1, 2]>(b)"


def text(start: str, *, shapes: tuple[str, str] = FIXED, end: str = END, more: str = "") -> str:
    first, second = shapes
    image = "float[n, 4, 5, 3]" if shapes == FIXED else "float[n, 4, h, w]"
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g ({image} x) => (float[n, l, o, k] y{", float[n, e, f, g] v" * bool(more)})
    <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}},
     int64[5] r = {{1, 1, 1, 2, 1}}, int64[5] q = {{1, 1, 2, 1, 1}},
     int64[5] m = {{1, 1, 1, 3, 1}}> {{
    {first} {STARTS[start]} {second} i = Unsqueeze(a, three) j = Tile(i, m) b = Reshape(j, z)
    {end} {more} }}"""


FEEDS = [{"x": floats(n, 4, 5, 3)} for n in (0, 1, 3)]
SIZES = [{"x": floats(n, 4, h, w)} for n, h, w in ((1, 5, 3), (2, 1, 7), (0, 2, 2))]


@pytest.mark.parametrize("start", STARTS)
def test_an_enlarged_image(start: str) -> None:
    result = rewritten(text(start), [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators == ["Resize"]
    result = rewritten(text(start, shapes=OPEN), [NAME], SIZES)
    assert result.operators == ["Resize"]


def test_each_side_has_its_factor() -> None:
    (resize,) = rewritten(text("moved"), [NAME], FEEDS).model.graph
    assert resize.inputs[2] is not None
    scales = resize.inputs[2].const_value
    assert scales is not None
    np.testing.assert_array_equal(scales.numpy(), [1, 1, 2, 3])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text("moved", end="y = Transpose<perm=[0, 3, 2, 1]>(b)"), ""),
        (text("moved").replace("i = Unsqueeze(a, three)", "i = Unsqueeze(a, two)"), ""),
        (text("moved").replace("r = {1, 1, 1, 2, 1}", "r = {1, 2, 1, 1, 1}"), ""),
        (text("plain").replace("perm=[0, 2, 3, 1]", "perm=[0, 3, 2, 1]"), ""),
        (text("moved").replace("float[n", "double[n"), ""),
        (text("moved", more="v = Relu(a)"), "its rows are read elsewhere too"),
        # Twice the columns, half the rows: another image of as many numbers.
        (
            text("moved").replace("[0, 10, 3, 4]", "[0, 5, 6, 4]").replace("10, 9", "5, 18"),
            "it is not known which axes are joined",
        ),
    ],
)
def test_what_is_no_enlargement_stays(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], [])
    assert not result.counts
    assert result.reason(NAME) == reason
