import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 32, 4, 6)} for n in (1, 3)]


def text(
    mean: str = "m = GlobalAveragePool(x)",
    active: str = "h = Relu(a)",
    gate: str = "Sigmoid",
    shape: str = "n, 32, 4, 6",
) -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]> g (float[{shape}] x) => (float[{shape}] y)
    <float[5, 32, 1, 1] w1, float[5] b1, float[32, 5, 1, 1] w2, float[32] b2>
    {{ {mean} a = Conv(m, w1, b1) {active} c = Conv(h, w2, b2) s = {gate}(c) y = Mul(x, s) }}"""


SILU = "q = Sigmoid(a) h = Mul(a, q)"


@pytest.mark.parametrize(
    "mean",
    ["m = GlobalAveragePool(x)", "ax = Constant<value_ints=[-1, -2]>() m = ReduceMean(x, ax)"],
)
@pytest.mark.parametrize("active", ["h = Relu(a)", SILU])
@pytest.mark.parametrize("gate", ["Sigmoid", "HardSigmoid"])
def test_the_block_is_written_for_blocked_layouts(mean: str, active: str, gate: str) -> None:
    result = rewritten(text(mean, active, gate), ["squeeze_excite"], FEEDS)
    assert result.counts == {"squeeze_excite": 1}
    assert "GlobalAveragePool" in result.operators
    squeeze = next(node for node in result.model.graph if node.op_type == "Conv")
    assert squeeze.inputs[1] is not None
    assert squeeze.inputs[1].shape == [16, 32, 1, 1]


@pytest.mark.parametrize("without", ["b1", "b2", "b1b2"])
def test_biases_may_be_missing(without: str) -> None:
    source = text()
    for name, size in (("b1", 5), ("b2", 32)):
        if name in without:
            source = source.replace(f", float[{size}] {name}", "").replace(f", {name})", ")")
    assert rewritten(source, ["squeeze_excite"], FEEDS).counts == {"squeeze_excite": 1}


def test_an_open_size_is_refused() -> None:
    result = rewritten(text(shape="n, 32, h, w"), ["squeeze_excite"], FEEDS)
    assert result.reason("squeeze_excite") == "the size of its feature map is not fixed"


def test_another_mean_is_none() -> None:
    mean = "ax = Constant<value_ints=[1]>() m0 = ReduceMean(x, ax) e = Shape(x) m1 = Expand(m0, e)"
    source = text(f"{mean} m = GlobalMaxPool(m1)")
    assert not rewritten(source, ["squeeze_excite"], FEEDS).counts


def test_a_block_that_is_as_it_should_be_stays() -> None:
    source = text().replace("float[5, 32", "float[16, 32").replace("float[5]", "float[16]")
    source = source.replace("float[32, 5", "float[32, 16")
    result = rewritten(source, ["squeeze_excite"], FEEDS)
    assert not result.counts
    assert not result.near_misses
