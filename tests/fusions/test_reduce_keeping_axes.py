import pytest

from tests.harness import floats, rewritten

NAME = "reduce_keeping_axes"
FEEDS = [{"x": floats(b, 6, 5, 4)} for b in (1, 3)]


def text(body: str, out: str = "b, 6, 1, 1", target: str = "-1, 6, 1, 1", opset: int = 18) -> str:
    return f"""<ir_version: 9, opset_import: ["": {opset}]>
    g (float[b, 6, 5, 4] x) => (float[{out}] y) {{
    target = Constant<value_ints=[{target}]>() axes = Constant<value_ints=[2, -1]>()
    first = Constant<value_ints=[0]>() {body} }}"""


MEAN = "r = ReduceMean<keepdims=0>(x, axes)"


@pytest.mark.parametrize("target", ["-1, 6, 1, 1", "0, 6, 1, 1", "0, -1, 1, 1"])
def test_a_reshape_that_gives_the_axes_back_goes(target: str) -> None:
    source = text(f"{MEAN} y = Reshape(r, target)", target=target)
    assert rewritten(source, [NAME], FEEDS).operators == ["ReduceMean"]


def test_an_unsqueeze_too() -> None:
    source = text(f"{MEAN} y = Unsqueeze(r, axes)")
    assert rewritten(source, [NAME], FEEDS).operators == ["ReduceMean"]


def test_axes_that_are_an_attribute() -> None:
    source = text("r = ReduceMax<axes=[2, 3], keepdims=0>(x) y = Reshape(r, target)", opset=13)
    assert rewritten(source, [NAME], FEEDS).operators == ["ReduceMax"]


@pytest.mark.parametrize(
    "source",
    [
        text(f"{MEAN} y = Reshape(r, target)", "c, 3, 1, 1", "-1, 3, 1, 1"),
        text(f"{MEAN} y = Reshape(r, target)", "b, 1, 6, 1", "-1, 1, 6, 1"),
        text(f"{MEAN} y = Reshape(r, target)", "b, 6, 1", "-1, 6, 1"),
        text(f"{MEAN} y = Unsqueeze(r, first)", "1, b, 6"),
        text("r = ReduceMean(x, axes) y = Reshape(r, target)", "b, 6, 1, 1"),
        text(f"{MEAN} y = Reshape<allowzero=1>(r, target)"),
    ],
    ids=["other axes", "other place", "fewer axes", "in front", "kept already", "zero means zero"],
)
def test_others_stay(source: str) -> None:
    assert rewritten(source, [NAME], FEEDS).counts == {}
