import numpy as np
import pytest

from tests.harness import Result, floats, rewritten

NAME = "narrow_constant"


def text(body: str, size: str = "b, 20, 30, 3", weights: str = "float[3] c") -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[{size}] x) => (float[{size}] y) <{weights}> {{ {body} }}"""


def repeated(result: Result) -> list[int]:
    """The shape of the constant that is there then."""
    node = next(node for node in result.model.graph if len(node.inputs) == 2)
    found = next(value for value in node.inputs if value is not None and value.const_value)
    assert found.const_value is not None
    return list(found.const_value.numpy().shape)


@pytest.mark.parametrize("body", ["Add(x, c)", "Add(c, x)", "Mul(x, c)", "Sub(x, c)", "Sub(c, x)",
                                  "Div(x, c)", "Max(x, c)", "Min(c, x)"])  # fmt: skip
def test_a_constant_for_each_channel_is_repeated_along_rows(body: str) -> None:
    feeds = [{"x": floats(b, 20, 30, 3)} for b in (0, 1, 3)]
    result = rewritten(text(f"y = {body}"), [NAME], feeds)
    assert result.counts == {NAME: 1}
    assert repeated(result) == [20, 30, 3]


@pytest.mark.parametrize("body", ["Div(c, x)", "Pow(x, c)", "Pow(c, x)"])
def test_powers_and_quotients_of_positive_numbers(body: str) -> None:
    source = text(f"y = {body}", weights="float[3] c = {0.5, 1.5, 2.0}")
    feeds = [{"x": abs(floats(b, 20, 30, 3)) + 0.5} for b in (1, 2)]
    assert rewritten(source, [NAME], feeds).counts == {NAME: 1}


@pytest.mark.parametrize(
    ("size", "constant", "shape"),
    [
        ("b, 700, 3", "1, 1, 3", [700, 3]),
        ("b, 9, 700, 2", "2", [700, 2]),
        ("b, 600, 4", "600, 1", [600, 4]),
        ("b, 600, 1, 4", "4", [600, 1, 4]),
        ("b, 4, 40, 7", "40, 1", [4, 40, 7]),
        ("2, 50, 4, 2, 2", "4, 1, 1", [50, 4, 2, 2]),
    ],
)
def test_other_axes(size: str, constant: str, shape: list[int]) -> None:
    sizes = [int(part) if part.strip().isdecimal() else 2 for part in size.split(",")]
    source = text("y = Mul(x, c)", size, f"float[{constant}] c")
    assert repeated(rewritten(source, [NAME], [{"x": floats(*sizes)}])) == shape


def test_numbers_of_any_kind() -> None:
    source = text("y = Add(x, c)", weights="int64[3] c = {1, 2, 3}").replace("float[b", "int64[b")
    feeds = [{"x": np.arange(1800, dtype=np.int64).reshape(1, 20, 30, 3)}]
    assert rewritten(source, [NAME], feeds).counts == {NAME: 1}


@pytest.mark.parametrize("size", ["b, h, w, 3", "b, 20, w, 3"])
def test_images_of_open_size_repeat_it_as_they_come(size: str) -> None:
    feeds = [{"x": floats(b, 20, w, 3)} for b, w in ((0, 5), (1, 1), (2, 30), (1, 0))]
    result = rewritten(text("y = Sub(c, x)", size), [NAME], feeds)
    assert result.counts == {NAME: 1}
    assert result.operators == ["Shape", "Slice", "Expand", "Sub"]


@pytest.mark.parametrize(
    ("source", "feed"),
    [
        (text("y = Add(x, c)", "b, 20, 30, 128", "float[128] c"), (1, 20, 30, 128)),
        (text("y = Add(x, c)", weights="float c"), (1, 20, 30, 3)),
        (text("y = Add(x, c)", "b, 3, 20, 30", "float[3, 1, 1] c"), (1, 3, 20, 30)),
        (text("y = Add(x, c)", "b, 5, 3"), (1, 5, 3)),
        (text("y = Add(x, c)", "b, n, 10", "float[10] c"), (1, 50, 10)),
        (text("y = Add(x, c)", "b, 5, 600, 4", "float[5, 1, 4] c"), (2, 5, 600, 4)),
        (text("y = Add(x, c)", "b, 20, w, 3", "float[20, 1, 3] c"), (2, 20, 9, 3)),
        (text("y = Add(x, c)", "1, 1280, 7, 7", "float[1280, 1, 1] c"), (1, 1280, 7, 7)),
    ],
    ids=["long", "scalar", "maps", "few", "open", "of rows", "of open rows", "no reuse"],
)
def test_where_nothing_is_gained_it_stays(source: str, feed: tuple[int, ...]) -> None:
    assert rewritten(source, [NAME], [{"x": floats(*feed)}]).counts == {}


def test_what_the_runtime_folds_is_left_to_it() -> None:
    weights = "float[4, 2, 1, 1] w, float[4, 1, 1] c"
    source = f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, 2, 40, 4] x) => (float[b, 4, 40, 4] y) <{weights}> {{
    t = Conv(x, w) y = Add(t, c) }}"""
    assert rewritten(source, [NAME], [{"x": floats(1, 2, 40, 4)}]).counts == {}
