from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from modelkit.model import Model, const_of
from modelkit.passes.fill_channels import fill_channels
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.remove_zero_channels import remove_zero_channels
from modelkit.passes.surgery import attribute
from tests.models import parsed
from tests.passes.harness import Feeds, check, normal, run

INPUTS = [{"x": normal(n, 3, 6, 5)} for n in (0, 1, 3)]


def text(body: str, weights: str = "", width: int = 57, outputs: str = "") -> str:
    """Convolutions make a map ``a`` of ``width`` channels and read ``z``; ``body`` is between."""
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 3, 6, 5] x) => (float[n, 16, i, j] y{outputs})
    <float[{width}, 3, 3, 3] w, float[{width}] b, float[16, {width}, 1, 1] v{weights}>
    {{ a = Conv(x, w, b) {body} y = Conv(z, v) }}"""


def filled(text: str, feeds: Sequence[Feeds] = INPUTS) -> tuple[Model, int]:
    proto = parsed(text)
    before, after = (ir.serde.deserialize_model(proto) for _ in range(2))
    infer_symbols(after)
    count = fill_channels(after).count
    check(after)
    for trial in feeds:
        for old, new in zip(run(before, trial), run(after, trial), strict=True):
            assert old.shape == new.shape
            scale = max(float(np.abs(old).max(initial=0)), 1e-12)
            np.testing.assert_allclose(new, old, rtol=0, atol=1e-6 * scale)
    return after, count


def convolutions(model: Model) -> list[tuple[int, ...]]:
    """Channels that are made and read by a group, and the groups, of each convolution."""
    found = []
    for node in model.graph:
        if node.op_type == "Conv":
            weight = const_of(node.inputs[1])
            assert weight is not None
            found.append((*weight.shape[:2], attribute(node, "group", 1)))
    return found


def test_a_map_of_odd_channels_is_widened_to_whole_blocks() -> None:
    model, count = filled(text("z = Relu(a)"))
    assert (count, convolutions(model)) == (1, [(64, 3, 1), (16, 64, 1)])
    assert set(model.graph.initializers) == {"w_filled", "b_filled", "v_filled"}


def test_a_chain_of_maps() -> None:
    body = "c = Relu(a) d = Conv<pads=[1, 1, 1, 1]>(c, u) e = HardSwish(d) z = Add(e, c)"
    model, count = filled(text(body, ", float[57, 57, 3, 3] u"))
    assert (count, convolutions(model)) == (1, [(64, 3, 1), (64, 64, 1), (16, 64, 1)])


def test_depthwise_convolutions_take_more_zeros() -> None:
    body = "c = Relu(a) d = Conv<group=18, pads=[1, 1, 1, 1]>(c, u, t) z = Tanh(d)"
    model, _ = filled(text(body, ", float[18, 1, 3, 3] u, float[18] t", 18))
    assert convolutions(model) == [(32, 3, 1), (32, 1, 32), (16, 32, 1)]


@pytest.mark.parametrize(
    ("width", "each", "expected"),
    [(24, 8, (32, 8, 4)), (56, 8, (64, 8, 8)), (168, 24, (192, 24, 8))],
)
def test_groups_become_as_many_as_can_be_merged(
    width: int, each: int, expected: tuple[int, int, int]
) -> None:
    body = f"c = Relu(a) d = Conv<group={width // each}, pads=[1, 1, 1, 1]>(c, u) z = Relu(d)"
    model, _ = filled(text(body, f", float[{width}, {each}, 3, 3] u", width))
    assert convolutions(model)[1] == expected


def test_a_gate_is_widened_with_what_it_multiplies() -> None:
    body = """d = Conv<group=58>(a, u) m = GlobalAveragePool(d) s = Conv(m, p) r = Relu(s)
    e = Conv(r, q) g = Sigmoid(e) z = Mul(d, g)"""
    weights = ", float[58, 1, 3, 3] u, float[8, 58, 1, 1] p, float[58, 8, 1, 1] q"
    model, _ = filled(text(body, weights, 58))
    expected = [(64, 3, 1), (64, 1, 64), (8, 64, 1), (64, 8, 1), (16, 64, 1)]
    assert convolutions(model) == expected


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("z = Mul(a, k)", ", float[57, 1, 1] k"),
        ("z = Div(a, k)", ", float[1, 57, 1, 1] k"),
        ("z = PRelu(a, k)", ", float[57, 1, 1] k"),
        ("z = Sub(k, a)", ", float[1] k"),
        ("z = Add(a, k)", ", float[4, 3] k"),
        ("c = Abs(k) z = BatchNormalization(a, k, l, m, n)", ", float[57] k, float[57] l,"
         " float[57] m, float[57] n = {" + ", ".join(["2.0"] * 57) + "}"),
        ("z = MaxPool<kernel_shape=[2, 2]>(a)", ""),
        ("z = ReduceMean<keepdims=1>(a, axes)", ", int64[2] axes = {2, -1}"),
        ("z = Resize(a, , k)", ", float[4] k = {1.0, 1.0, 2.0, 2.0}"),
        ("z = Clip(a, k)", ", float k = {0.5}"),
        ("m = ReduceMean<keepdims=1>(x, axes) z = Mul(a, m)", ", int64[3] axes = {1, 2, 3}"),
    ],
)  # fmt: skip
def test_what_works_on_each_channel_alone_stands_between(body: str, weights: str) -> None:
    model, count = filled(text(body, weights))
    assert (count, convolutions(model)[0][0]) == (1, 64)


@pytest.mark.parametrize(
    ("body", "weights", "width"),
    [
        ("z = Relu(a)", "", 64),  # fills its blocks
        ("z = Relu(a)", "", 35),  # would become much wider
        ("z = Log(a)", "", 57),
        ("c = Relu(a) z = Div(c, a)", "", 57),
        ("z = Softmax<axis=1>(a)", "", 57),
        ("c = Neg(w2) z = Conv(a, c)", ", float[57, 57, 1, 1] w2", 57),
        ("z = ReduceMean<keepdims=1>(a, axes)", ", int64[1] axes = {1}", 57),
        ("s = Shape(a) z = Reshape(a, s)", "", 57),
        ("d = Conv<group=19>(a, u) z = Relu(d)", ", float[114, 3, 3, 3] u", 57),
    ],
)
def test_all_else_is_left(body: str, weights: str, width: int) -> None:
    made = text(body, weights, width)
    if "114" in made:
        made = made.replace("float[16, 57, 1, 1] v", "float[16, 114, 1, 1] v")
    if "axes = {1}" in made:
        made = made.replace("float[16, 57, 1, 1] v", "float[16, 1, 1, 1] v")
    assert filled(made)[1] == 0


def test_a_bias_may_be_left_out_by_an_empty_name() -> None:
    proto = parsed(text("c = Relu(a) d = Conv(c, u) z = Relu(d)", ", float[57, 57, 1, 1] u"))
    proto.graph.node[2].input.append("")
    model = ir.serde.deserialize_model(proto)
    infer_symbols(model)
    assert fill_channels(model).count == 2
    assert convolutions(model) == [(64, 3, 1), (64, 64, 1), (16, 64, 1)]


def test_a_bias_that_is_also_an_input_is_left() -> None:
    proto = parsed(text("z = Relu(a)"))
    proto.graph.input.add(name="b").CopyFrom(
        onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [57])
    )
    model = ir.serde.deserialize_model(proto)
    infer_symbols(model)
    assert fill_channels(model).count == 0


def test_a_map_that_is_an_output_is_left() -> None:
    assert filled(text("z = Relu(a)", outputs=", float[n, 57, h, k] z"))[1] == 0


def test_a_map_that_a_body_reads_is_left() -> None:
    body = """z = Relu(a) t = If(yes) <then_branch = t () => (float[n, 57, h, k] p) { p = Neg(z) },
    else_branch = e () => (float[n, 57, h, k] q) { q = Abs(z) }>"""
    made = text(body, ", bool yes = {1}", outputs=", float[n, 57, h, k] t")
    assert filled(made)[1] == 0


def test_the_zeros_are_not_taken_out_again() -> None:
    model, _ = filled(text("z = Relu(a)"))
    assert remove_zero_channels(model).count == 0


def test_maps_that_are_put_together() -> None:
    body = """c = Conv(x, s) d = Relu(a) e = Concat<axis=1>(c, d, c, d) f = Relu(e)
    h = Mul(f, k) z = Conv(h, p)"""
    weights = """, float[6, 3, 3, 3] s, float[126, 1, 1] k, float[57, 126, 1, 1] p"""
    model, count = filled(text(body, weights))
    assert count == 2
    assert convolutions(model) == [(64, 3, 1), (6, 3, 1), (64, 140, 1), (16, 64, 1)]


def test_maps_that_are_taken_apart() -> None:
    body = """d = Relu(a) e, f = Split<axis=1>(d, sizes) g = Conv<group=58>(e, u)
    h = Conv<kernel_shape=[3, 3]>(f, p) k = Relu(h) z = Concat<axis=1>(g, k)"""
    weights = """, int64[2] sizes = {58, 40}, float[58, 1, 3, 3] u, float[40, 40, 3, 3] p"""
    model, count = filled(text(body, weights, 98))
    assert count == 1
    assert convolutions(model) == [(104, 3, 1), (64, 1, 64), (40, 40, 1), (16, 104, 1)]


def test_even_parts_are_taken_apart_evenly() -> None:
    body = """d = Relu(a) e, f = Split<axis=1, num_outputs=2>(d) g = Conv<group=58>(e, u)
    h = Conv<group=58>(f, p) i = Concat<axis=1>(g, h) k, l = Split<axis=-3, num_outputs=2>(i)
    z = Add(k, l)"""
    model, count = filled(text(body, ", float[58, 1, 3, 3] u, float[58, 1, 3, 3] p", 116).replace(
        "float[16, 116, 1, 1] v", "float[16, 58, 1, 1] v"))  # fmt: skip
    assert count == 1
    assert convolutions(model) == [(128, 3, 1), (64, 1, 64), (64, 1, 64), (16, 64, 1)]


def random_network(seed: int) -> str:
    """Maps of odd widths, made, joined and read in any order."""
    random = np.random.default_rng(seed)
    weights: list[str] = []
    lines: list[str] = []
    maps = [("x", 3)]

    def weight(*shape: int) -> str:
        weights.append(f"float[{', '.join(map(str, shape))}] w{len(weights)}")
        return f"w{len(weights) - 1}"

    def add(line: str, width: int) -> None:
        lines.append(f"m{len(lines)} = {line}")
        maps.append((f"m{len(lines) - 1}", width))

    for _ in range(14):
        (a, width), (b, other) = (maps[random.integers(len(maps))] for _ in range(2))
        kind = random.integers(9)
        made = int(random.choice([10, 18, 57, 58, 60, 90]))
        if kind < 2 or len(maps) < 4:
            add(f"Conv<pads=[1, 1, 1, 1]>({a}, {weight(made, width, 3, 3)})", made)
        elif kind == 2:
            add(f"Conv<group={width}>({a}, {weight(width, 1, 1, 1)}, {weight(width)})", width)
        elif kind == 3:
            add(f"{random.choice(['Relu', 'Sigmoid', 'HardSwish'])}({a})", width)
        elif kind == 4:
            same = [name for name, wide in maps if wide == width]
            add(f"{random.choice(['Add', 'Mul'])}({a}, {random.choice(same)})", width)
        elif kind == 5:
            add(f"Concat<axis=1>({a}, {b})", width + other)
        elif kind == 6:
            add(f"Mul({a}, {weight(width, 1, 1)})", width)
        elif kind == 7 and width % 2 == 0:
            lines.append(f"h{len(lines)}, k{len(lines)} = Split<axis=1, num_outputs=2>({a})")
            maps += [(f"{side}{len(lines) - 1}", width // 2) for side in "hk"]
        else:
            lines.append(f"p{len(lines)} = GlobalAveragePool({a})")
            add(f"Mul({a}, p{len(lines) - 1})", width)
    ends = [f"Conv({name}, {weight(4, width, 1, 1)})" for name, width in maps[-3:]]
    lines += [f"e{at} = {end}" for at, end in enumerate(ends)] + ["y0 = Add(e0, e1)"]
    told = '<ir_version: 10, opset_import: ["": 20]> g (float[n, 3, 6, 5] x)'
    return f"""{told} => (float[n, 4, i, j] y) <{", ".join(weights)}>
    {{ {" ".join(lines)} y = Add(y0, e2) }}"""


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_compute_the_same(seed: int) -> None:
    filled(random_network(seed))
