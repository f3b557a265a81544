import pytest

from tests.harness import Result, floats, rewritten

NAME = "gate_in_weights"
LINEAR = "p = GlobalAveragePool(c) f = Flatten(p) l = MatMul(f, m) s = Sigmoid(l) g = Reshape(s, t)"
CONVOLVED = "p = GlobalAveragePool(c) e = Conv(p, k) g = HardSigmoid(e)"


def text(
    gate: str = CONVOLVED,
    *,
    product: str = "Mul(c, g)",
    reader: str = "y = Conv(z, v, d)",
    batch: str = "n",
    sides: tuple[int | str, int | str] = (80, 81),
    channels: int = 32,
    filters: int = 16,
    kernel: str = "1, 1",
    more: str = "",
) -> str:
    inputs = f"float[{batch}, 8, {sides[0]}, {sides[1]}] x"
    weights = f"""float[{channels}, 8, 1, 1] w, float[{channels}] b, float[{channels}, {channels}] m,
        float[{filters}, {channels}, {kernel}] v, float[{filters}] d,
        float[{channels}, {channels}, 1, 1] k{more}"""
    return f"""<ir_version: 10, opset_import: ["": 20]> g
    ({inputs}) => (float[{batch}, {filters}, q, r] y) <{weights}> {{
    t = Constant<value_ints=[0, {channels}, 1, 1]>() a = Conv(x, w, b) c = Relu(a) {gate}
    z = {product} {reader} }}"""


def fused(
    source: str, sides: tuple[int, int] = (80, 81), batches: tuple[int, ...] = (1, 3)
) -> Result:
    return rewritten(source, [NAME], [{"x": floats(n, 8, *sides)} for n in batches])


@pytest.mark.parametrize("gate", [LINEAR, CONVOLVED])
@pytest.mark.parametrize("product", ["Mul(c, g)", "Mul(g, c)"])
@pytest.mark.parametrize("reader", ["y = Conv(z, v, d)", "y = Conv(z, v)"])
def test_the_gate_scales_the_weights(gate: str, product: str, reader: str) -> None:
    result = fused(text(gate, product=product, reader=reader))
    assert result.counts == {NAME: 1}
    assert result.operators.count("MatMul") == 1 + (gate == LINEAR)
    of_weights = [node for node in result.model.graph if node.op_type == "Mul"]
    assert len(of_weights) == 1
    assert of_weights[0].outputs[0].shape is None or len(of_weights[0].outputs[0].shape) == 3


@pytest.mark.parametrize("sides", [(1, 6401), (77, 91), (3000, 3)])
def test_odd_sides(sides: tuple[int, int]) -> None:
    assert fused(text(sides=sides), sides).counts == {NAME: 1}


def test_an_open_batch_of_no_images_gives_none() -> None:
    assert fused(text(), batches=(0,)).counts == {NAME: 1}


def test_a_fixed_batch_of_no_images_is_left_alone() -> None:
    assert not fused(text(batch="0"), batches=(0,)).counts


def test_a_sum_behind_stays_beside_the_convolution_that_keeps_every_number() -> None:
    reader = "o = Conv(z, v, d) h = Conv(x, u) y = Add(o, h)"
    result = fused(text(reader=reader, more=", float[16, 8, 1, 1] u"))
    assert result.counts == {NAME: 1}
    added = next(node for node in result.model.graph if node.op_type == "Add")
    last = added.predecessors()[0]
    assert last.op_type == "Conv"
    assert last.attributes.get_int("group") == 16
    assert last.inputs[2] is not None


def test_two_behind_each_other_in_one_graph() -> None:
    more = ", float[32, 16, 1, 1] w2, float[32, 32, 1, 1] k2, float[16, 32, 1, 1] v2"
    reader = """o = Conv(z, v, d) a2 = Conv(o, w2) c2 = Relu(a2) p2 = GlobalMaxPool(c2)
        e2 = Conv(p2, k2) g2 = Sigmoid(e2) z2 = Mul(c2, g2) y = Conv(z2, v2)"""
    assert fused(text(reader=reader, more=more)).counts == {NAME: 2}


@pytest.mark.parametrize(
    ("source", "sides", "reason"),
    [
        (
            text(kernel="3, 3", reader="y = Conv<pads=[1, 1, 1, 1]>(z, v, d)"),
            (80, 81),
            "its convolution is no linear layer of each pixel",
        ),
        (
            text(reader="y = Conv<strides=[2, 2]>(z, v, d)"),
            (80, 81),
            "its convolution is no linear layer of each pixel",
        ),
        (
            text(reader="y = Conv<pads=[0, 1, 0, 1]>(z, v, d)"),
            (80, 81),
            "its convolution pads",
        ),
        (
            text(reader="v2 = Sin(v) y = Conv(z, v2, d)"),
            (80, 81),
            "its convolution has no constant weights, or groups",
        ),
        (text(sides=("h", "i")), (80, 81), "the size of its feature map is not fixed"),
        (text(channels=40), (80, 81), "its channels are not a multiple of 16"),
        (text(filters=12), (80, 81), "the channels behind it are not a multiple of 16"),
        (text(filters=32), (80, 81), "its convolution makes 32 of 32 channels"),
        (
            text(channels=320, filters=160, sides=(30, 31)),
            (30, 31),
            "its convolution makes 160 of 320 channels",
        ),
        (text(sides=(5, 6)), (5, 6), "its weights are not few beside its map"),
        (text(sides=(70, 70)), (70, 70), "its map is small (627200 bytes)"),
        (
            text(sides=(256, 161)),
            (256, 161),
            "its map of 5275648 bytes does not stay in the caches",
        ),
    ],
)  # fmt: skip
def test_what_gains_nothing_is_refused(source: str, sides: tuple[int, int], reason: str) -> None:
    result = fused(source, sides, batches=(1,))
    assert not result.counts
    assert result.reason(NAME) == reason


@pytest.mark.parametrize(
    "source",
    [
        text(product="Mul(c, c)"),
        text(product="Mul(c, one)", more=", float[1, 32, 1, 1] one"),
        text(product="Mul(w2, g)", gate=CONVOLVED + " w2 = Sin(c)"),  # outside the layout
    ],
)
def test_other_products_are_none(source: str) -> None:
    result = fused(source)
    assert not result.counts
    assert not result.near_misses


def test_a_product_that_others_read_stays() -> None:
    result = fused(text(reader="o = Conv(z, v, d) j = Conv(z, v2) y = Add(o, j)",
                        more=", float[16, 32, 1, 1] v2"))  # fmt: skip
    assert not result.counts
