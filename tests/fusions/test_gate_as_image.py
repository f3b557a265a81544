import numpy as np
import pytest

from tests.harness import Result, floats, rewritten

NAME = "gate_as_image"
WEIGHTS = """float[32, 8, 1, 1] w, float[32] b, float[8, 32, 3, 3] v, float[32, 32] m,
 float[32, 32, 1, 1] k"""
LINEAR = "p = GlobalAveragePool(c) f = Flatten(p) l = MatMul(f, m) s = Sigmoid(l) g = Reshape(s, t)"
CONVOLVED = "p = GlobalAveragePool(c) e = Conv(p, k) g = HardSigmoid(e)"


def text(
    gate: str = LINEAR,
    *,
    product: str = "Mul(c, g)",
    reader: str = "y = Conv<pads=[1, 1, 1, 1]>(z, v)",
    sides: str = "5, 7",
    out: str = "n, 8, q, r",
) -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]> g
    (float[n, 8, {sides}] x) => (float[{out}] y) <{WEIGHTS}> {{
    t = Constant<value_ints=[0, 32, 1, 1]>() a = Conv(x, w, b) c = Relu(a) {gate}
    z = {product} {reader} }}"""


def fused(source: str, sides: tuple[int, int] = (5, 7)) -> Result:
    return rewritten(source, [NAME], [{"x": floats(n, 8, *sides)} for n in (1, 3)])


@pytest.mark.parametrize("product", ["Mul(c, g)", "Mul(g, c)", "Add(c, g)"])
def test_a_gate_of_linear_layers_enters_by_a_convolution(product: str) -> None:
    result = fused(text(product=product))
    assert result.counts == {NAME: 1}
    assert result.operators.count("Conv") == 3
    assert result.operators.count("Resize") == 1


def test_a_gate_of_a_convolution_is_there_already() -> None:
    result = fused(text(CONVOLVED))
    assert result.counts == {NAME: 1}
    assert result.operators.count("Conv") == 3
    assert result.operators.count("Resize") == 1


def test_a_sum_of_gates_is_there_if_both_are() -> None:
    both = """p = GlobalAveragePool(c) e = Conv(p, k) p2 = GlobalMaxPool(c) e2 = Conv(p2, k)
    h = Add(e, e2) g = Sigmoid(h)"""
    result = fused(text(both))
    assert result.counts == {NAME: 1}
    assert result.operators.count("Conv") == 4


@pytest.mark.parametrize("side", [(1, 1), (1, 9), (2, 2)])
def test_odd_sizes(side: tuple[int, int]) -> None:
    result = fused(text(sides=f"{side[0]}, {side[1]}"), side)
    assert result.counts == ({} if side == (1, 1) else {NAME: 1})


def test_through_activations_sums_and_pools() -> None:
    reader = "u = Add(z, c) i = Relu(u) j = MaxPool<kernel_shape=[2, 2]>(i) y = Conv(j, v)"
    assert fused(text(reader=reader)).counts == {NAME: 1}


def test_an_open_size_is_refused() -> None:
    result = fused(text(sides="h, w"))
    assert result.reason(NAME) == "the size of its feature map is not fixed"


def test_what_leaves_the_layout_is_refused() -> None:
    reader = "ax = Constant<value_ints=[1]>() y = ReduceMax<keepdims=1>(z, ax)"
    result = fused(text(reader=reader, out="n, 1, q, r"))
    assert result.reason(NAME) == "what reads it is no convolution"


def test_channels_that_fill_no_block_are_refused() -> None:
    source = text(CONVOLVED)
    for old in ("float[32, 8", "float[32] b", "float[8, 32", "float[32, 32, 1"):
        source = source.replace(old, old.replace("32", "24"))
    result = fused(source)
    assert result.reason(NAME) == "its channels are not a multiple of 16"


@pytest.mark.parametrize(("batch", "side", "count"), [("n", 32, 1), ("n", 33, 0), ("1", 33, 1)])
def test_a_large_sum_in_place_is_not_given_up(batch: str, side: int, count: int) -> None:
    """ONNX Runtime does not know the open batch of what it repeats, nor of what is made of that."""
    reader = "d = Conv(z, wide) e2 = Conv(x, short) y = Add(d, e2)"
    source = text(CONVOLVED, reader=reader, sides=f"{side}, {side}", out=f"{batch}, 256, q, r")
    source = source.replace("float[n, 8", f"float[{batch}, 8").replace(
        WEIGHTS, f"{WEIGHTS}, float[256, 32, 1, 1] wide, float[256, 8, 1, 1] short"
    )
    result = rewritten(source, [NAME], [{"x": floats(1, 8, side, side)}])
    assert result.counts == ({NAME: 1} if count else {})
    if not count:
        assert "would no longer be computed in place" in result.reason(NAME)


@pytest.mark.parametrize(
    "product",
    [
        "Mul(x, g)",  # nothing that a convolution made
        "Mul(c, one)",  # a constant
        "Mul(c, c)",
    ],
)
def test_other_products_are_none(product: str) -> None:
    source = text(product=product).replace(f"<{WEIGHTS}>", f"<{WEIGHTS}, float[1, 32, 1, 1] one>")
    if "x" in product:
        source = source.replace("float[n, 8, 5, 7] x", "float[n, 32, 5, 7] x")
        source = source.replace("float[32, 8, 1, 1] w", "float[32, 32, 1, 1] w")
        result = rewritten(source, [NAME], [{"x": floats(2, 32, 5, 7)}])
    else:
        result = fused(source)
    assert not result.counts
    assert not result.near_misses


def test_numbers_that_are_none_pass_unchanged() -> None:
    """The convolution that keeps every number adds nothing to infinities."""
    feeds = floats(1, 8, 5, 7)
    feeds[0, 0, 0, 0] = np.float32(3e38)
    rewritten(text(), [NAME], [{"x": feeds}])
