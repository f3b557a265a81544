import onnx_ir as ir
import pytest

from modelkit.passes.channel_costs import microseconds
from modelkit.passes.channel_region import Region, region_of
from modelkit.passes.infer_symbols import infer_symbols
from tests.models import parsed


def region(body: str, weights: str, width: int, sides: str = "28, 28", made: int = 32) -> Region:
    """Of the map ``a`` that a convolution makes; another reads ``z``."""
    model = ir.serde.deserialize_model(
        parsed(f"""<ir_version: 10, opset_import: ["": 20]>
        g (float[n, 32, {sides}] x) => (float[n, {made}, i, j] y)
        <float[{width}, 32, 1, 1] w, float[{made}, {width}, 1, 1] v{weights}>
        {{ a = Conv(x, w) {body} y = Conv(z, v) }}""")
    )
    infer_symbols(model)
    found = region_of(model.graph, model.graph[0].outputs[0])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("width", "more", "low", "high"),
    [
        (57, 7, 0.4, 0.7),  # the blocked kernels instead of others
        (60, 4, 0.99, 1.01),  # filled up anyway
        (64, 16, 1.24, 1.26),
    ],
)
@pytest.mark.parametrize("sides", ["28, 28", "h, w"])
def test_dense_convolutions(width: int, more: int, low: float, high: float, sides: str) -> None:
    found = region("z = Relu(a)", "", width, sides)
    assert low <= microseconds(found, more) / microseconds(found, 0) <= high


def test_depthwise_convolutions_gain_most() -> None:
    found = region("z = Conv<group=58>(a, u)", ", float[58, 1, 3, 3] u", 58)
    assert microseconds(found, 6) < 0.4 * microseconds(found, 0)


@pytest.mark.parametrize(("each", "gains"), [(8, True), (4, False)])
def test_groups_gain_where_few_are_merged(each: int, gains: bool) -> None:
    found = region(f"z = Conv<group={24 // each}>(a, u)", f", float[24, {each}, 3, 3] u", 24)
    # The convolutions around take the same before and after.
    assert (microseconds(found, 8) < microseconds(found, 0)) == gains


def test_a_few_channels_do_not_widen_the_layers_beside_them() -> None:
    body = """e, f = Split<axis=1>(a, sizes) g = Conv<group=10, kernel_shape=[3, 3],
    pads=[1, 1, 1, 1]>(e, u) z = Concat<axis=1>(g, f)"""
    weights = ", int64[2] sizes = {10, 150}, float[10, 1, 3, 3] u, float[160, 160, 1, 1] t"
    found = region(body.replace("z =", "k =") + " h = Conv(k, t) z = Relu(h)", weights, 160)
    assert microseconds(found, 6) > microseconds(found, 0)


def test_maps_that_are_put_together_stay_in_blocks() -> None:
    found = region("b = Relu(a) c = Tanh(a) z = Concat<axis=1>(b, c)", "", 60)
    assert microseconds(found, 4) < microseconds(found, 0)


def test_maps_of_less_than_a_block_are_filled() -> None:
    found = region("z = Relu(a)", "", 8, made=16)  # what moves it out costs more than it saves
    assert microseconds(found, 8) < microseconds(found, 0)
    found = region("z = Relu(a)", "", 8, made=64)
    assert microseconds(found, 8) > microseconds(found, 0)
