import pytest

from tests.harness import floats, rewritten

NAME = "rows_as_pixels"


def text(
    sizes: str = "s = Constant<value_ints=[0, 16, 2, 3]>()",
    conv: str = "Conv<pads=[1, 1, 1, 1]>(p, w, v)",
    rows: str = "6, 16",
) -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, {rows}] x, float[h, u] like) => (float[b, o, m, n] y)
    <float[16, 16, 3, 3] w, float[16] v, float[16, 1, 3, 3] d> {{
    t = Transpose<perm=[0, 2, 1]>(x) {sizes} p = Reshape(t, s) y = {conv} }}"""


@pytest.mark.parametrize(
    "conv",
    [
        "Conv<pads=[1, 1, 1, 1]>(p, w, v)",
        "Conv<pads=[1, 1, 1, 1]>(p, w)",
        "Conv<pads=[1, 1, 1, 1], group=16>(p, d, v)",
    ],
)
def test_rows_become_a_map_before_channels_move(conv: str) -> None:
    feeds = [{"x": floats(b, 6, 16), "like": floats(1, 1)} for b in (0, 1, 3)]
    result = rewritten(text(conv=conv), [NAME], feeds)
    assert result.operators == ["Reshape", "Transpose", "Conv"]


@pytest.mark.parametrize(
    "sizes",
    [
        "s = Constant<value_ints=[0, 16, -1, 3]>()",
        """a = Shape<start=0, end=1>(x) k = Constant<value_ints=[16]>() l = Shape(like)
        z = Constant<value_ints=[1, 1]>() h, u = Split<axis=0>(l, z) s = Concat<axis=0>(a, k, h, u)""",
    ],
)
def test_sides_may_be_open(sizes: str) -> None:
    feeds = [{"x": floats(b, h * 3, 16), "like": floats(h, 3)} for b, h in ((1, 1), (2, 5), (3, 2))]
    result = rewritten(text(sizes, rows="n, 16"), [NAME], feeds)
    assert result.counts == {NAME: 1}


def test_rows_that_become_two_maps_stay() -> None:
    sizes = "s = Constant<value_ints=[-1, 16, 1, 3]>()"
    assert rewritten(text(sizes), [NAME], []).counts == {}


def test_both_convolutions_of_a_map_read_it_so() -> None:
    conv = "Add(q, r)"
    source = text(conv=conv).replace(
        "y = Add", "q = Conv<pads=[1, 1, 1, 1]>(p, w, v) r = Conv<pads=[1, 1, 1, 1]>(p, w) y = Add"
    )
    result = rewritten(source, [NAME], [{"x": floats(2, 6, 16), "like": floats(1, 1)}])
    assert result.counts == {NAME: 2}


def test_a_map_that_others_add_stays() -> None:
    source = text(conv="Add(q, p)").replace(
        "y = Add", "q = Conv<pads=[1, 1, 1, 1]>(p, w, v) y = Add"
    )
    result = rewritten(source, [NAME], [])
    assert result.reason(NAME) == "other operators read the map"
