import pytest

from modelkit.fusions.reduce_before_transpose import KINDS
from tests.harness import floats, rewritten

NAME = "reduce_before_transpose"
FEEDS = [{"x": abs(floats(b, 6, 5, 4)) + 0.1} for b in (1, 3)]


def text(reduction: str, out: str, perm: str = "0, 2, 3, 1", opset: int = 18) -> str:
    return f"""<ir_version: 9, opset_import: ["": {opset}]>
    g (float[b, 6, 5, 4] x) => (float[{out}] y) {{
    t = Transpose<perm=[{perm}]>(x) axes = Constant<value_ints=[1, 2]>()
    last = Constant<value_ints=[-1]>() both = Constant<value_ints=[1, -1]>()
    none = Constant<value = int64[0] {{}}>() y = {reduction} }}"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_over_a_map_needs_no_transpose(kind: str) -> None:
    result = rewritten(text(f"{kind}<keepdims=0>(t, axes)", "b, 6"), [NAME], FEEDS)
    assert result.operators == [kind]


def test_axes_that_are_an_attribute() -> None:
    source = text("ReduceMean<axes=[1, 2], keepdims=0>(t)", "b, 6", opset=13)
    assert rewritten(source, [NAME], FEEDS).operators == ["ReduceMean"]


@pytest.mark.parametrize(
    ("reduction", "out", "perm"),
    [
        ("ReduceMax(t, axes)", "b, 1, 1, 6", "0, 2, 3, 1"),
        ("ReduceMean<keepdims=0>(t, last)", "6, b, 5", "1, 0, 2, 3"),
        ("ReduceSum<keepdims=0>(t, both)", "6, b", "1, 3, 0, 2"),
    ],
)
def test_what_is_left_is_moved_after_it(reduction: str, out: str, perm: str) -> None:
    result = rewritten(text(reduction, out, perm), [NAME], FEEDS)
    assert result.operators[1:] == ["Transpose"]


@pytest.mark.parametrize(
    ("reduction", "out"),
    [
        ("ReduceMean(t)", "1, 1, 1, 1"),
        ("ReduceMean(t, last)", "b, 5, 4, 1"),
        ("ReduceMean<noop_with_empty_axes=1>(t, none)", "b, 5, 4, 6"),
    ],
    ids=["all axes", "not the last", "no axes"],
)
def test_others_stay(reduction: str, out: str) -> None:
    assert rewritten(text(reduction, out), [NAME], FEEDS).counts == {}


def test_what_others_read_stays_moved_for_them() -> None:
    source = text("Add(t, u)", "b, 5, 4, 6").replace("y =", "u = ReduceMean(t, axes) y =")
    result = rewritten(source, [NAME], FEEDS)
    assert sorted(result.operators) == ["Add", "ReduceMean", "Transpose", "Transpose"]
