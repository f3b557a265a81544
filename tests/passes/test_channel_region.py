import onnx_ir as ir

from modelkit.model import Model
from modelkit.passes.channel_region import Region, region_of, width_of
from modelkit.passes.infer_symbols import infer_symbols
from tests.models import parsed

NETWORK = """<ir_version: 10, opset_import: ["": 20]>
g (float[n, 3, 6, 5] x) => (float[n, 4, i, j] y)
<float[10, 3, 1, 1] w, float[6, 3, 1, 1] u, float[16, 16, 1, 1] v, float[4, 16, 1, 1] t>
{ a = Conv(x, w) b = Conv(x, u) c = Relu(a) d = Concat<axis=1>(b, c) e = Sigmoid(d)
  f = Conv(e, v) h = Mul(e, f) y = Conv(h, t) }"""


def model_of(text: str) -> Model:
    model = ir.serde.deserialize_model(parsed(text))
    infer_symbols(model)
    return model


def found(text: str, name: str) -> Region | None:
    model = model_of(text)
    values = {value.name: value for node in model.graph for value in node.outputs}
    return region_of(model.graph, values[name])


def test_the_places_follow_a_map_into_the_whole_it_is_a_part_of() -> None:
    region = found(NETWORK, "a")
    assert region is not None
    assert region.width == 10
    places = {value.name: at for value, at in region.values.items()}
    whole = dict.fromkeys("defh", (16,))
    assert places == {"a": (10,), "c": (10,), "b": (), **whole}


def test_from_the_whole_into_its_parts() -> None:
    region = found(NETWORK, "f")
    assert region is not None
    assert {value.name: at for value, at in region.values.items()}["c"] == (10,)


def test_a_part_twice_in_a_whole_cannot_be_widened_at_one_end() -> None:
    twice = NETWORK.replace("(b, c)", "(c, b, c)").replace("16, 1, 1]", "26, 1, 1]")
    twice = twice.replace("[16, 26", "[26, 26")
    assert found(twice, "f") is None
    region = found(twice, "a")
    assert region is not None
    assert {value.name: at for value, at in region.values.items()}["e"] == (10, 26)


def test_what_is_no_feature_map_has_no_width() -> None:
    model = model_of("""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 3, 6, 5] x, float[3, 6] r, int64[1, 3, 6, 5] i) => (float[n, 3, 6, 5] y)
    { y = Relu(x) }""")
    assert [width_of(value) for value in (*model.graph.inputs, None)] == [3, 0, 0, 0]


def test_the_widened_weights_stand_for_the_old_ones() -> None:
    model = model_of(NETWORK)
    first = model.graph[0].outputs[0]
    region = region_of(model.graph, first)
    assert region is not None
    region.widen(6)
    assert (width_of(first), sorted(model.graph.initializers)) == (
        16,
        ["t_filled", "u", "v_filled_filled", "w_filled"],
    )
