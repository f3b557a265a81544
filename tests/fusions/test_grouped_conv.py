import numpy as np
import pytest

from tests.harness import floats, rewritten

NAME = "grouped_conv"


def text(channels: int, made: int, groups: int, more: str = "") -> str:
    wide, out = channels * groups, made * groups
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, {wide}, 9, 7] x) => (float[n, {out}, h, w] y)
    <float[{out}, {channels}, 3, 3] k, float[{out}] b> {{ y = Conv<group={groups}{more}>(x, k, b) }}"""


@pytest.mark.parametrize(
    ("channels", "made", "groups", "left"),
    [(8, 8, 4, 2), (4, 4, 8, 2), (2, 2, 16, 2), (24, 24, 2, 1), (4, 8, 8, 2), (8, 16, 2, 1)],
)
def test_groups_are_merged_until_they_fill_a_block(
    channels: int, made: int, groups: int, left: int
) -> None:
    feeds = [{"x": floats(n, channels * groups, 9, 7)} for n in (0, 1, 2)]
    result = rewritten(text(channels, made, groups), [NAME], feeds)
    (conv,) = result.model.graph
    assert conv.attributes["group"].as_int() == left


def test_all_else_stays() -> None:
    more = ", strides=[2, 1], pads=[1, 0, 1, 0], dilations=[1, 2]"
    result = rewritten(text(8, 8, 4, more), [NAME], [{"x": floats(2, 32, 9, 7)}])
    (conv,) = result.model.graph
    assert conv.attributes["strides"].as_ints() == (2, 1)
    assert conv.attributes["pads"].as_ints() == (1, 0, 1, 0)


def test_without_a_bias() -> None:
    plain = text(8, 8, 4).replace("(x, k, b)", "(x, k)").replace(", float[32] b", "")
    assert rewritten(plain, [NAME], [{"x": floats(1, 32, 9, 7)}]).counts == {NAME: 1}


@pytest.mark.parametrize("sizes", [(12, 12, 8), (8, 8, 3), (40, 40, 2), (3, 3, 16)])
def test_groups_that_fill_no_block_are_refused(sizes: tuple[int, int, int]) -> None:
    channels, _, groups = sizes
    result = rewritten(text(*sizes), [NAME], [{"x": floats(1, channels * groups, 9, 7)}])
    expected = f"no few of its {groups} groups of {channels} channels fill blocks of 16"
    assert result.reason(NAME) == expected


@pytest.mark.parametrize("sizes", [(1, 1, 32), (16, 16, 2), (32, 16, 2), (8, 8, 1)])
def test_what_has_blocked_kernels_is_not_looked_at(sizes: tuple[int, int, int]) -> None:
    result = rewritten(text(*sizes), [NAME], [{"x": floats(1, sizes[0] * sizes[2], 9, 7)}])
    assert (result.counts, result.near_misses) == ({}, ())


def test_weights_that_are_computed_are_refused() -> None:
    made = text(8, 8, 4).replace("(x, k, b)", "(x, j, b)").replace("{ y", "{ j = Neg(t) y")
    made = made.replace("7] x)", "7] x, float[32, 8, 3, 3] t)")
    feeds = [{"x": floats(1, 32, 9, 7), "t": np.ones((32, 8, 3, 3), np.float32)}]
    result = rewritten(made.replace("float[32, 8, 3, 3] k, ", ""), [NAME], feeds)
    assert result.reason(NAME) == "it is not float32 with constant weights"
