import numpy as np
import onnx_ir as ir
import pytest

from modelkit.model import Model, clone
from modelkit.optimize import optimize
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.select_early import select_early
from tests.passes.harness import check, model_of, normal, ops

BLOCK = """
    wq = Constant<value={wq}>() wk = Constant<value={wk}>()
    q = MatMul(x, wq) k = MatMul(x, wk) turned = Transpose<perm=[0,2,1]>(k)
    s = MatMul(q, turned) p = Softmax<axis=-1>(s) a = MatMul(p, x) r = Add(x, a)
    scale = Constant<value_floats=[1.0, 2.0, 3.0, 4.0]>()
    n = LayerNormalization<axis=-1>(r, scale) u = MatMul(n, wq) g = Relu(u) h = Add(g, r)
"""


def tensor(*shape: int, seed: int = 0) -> str:
    array = normal(*shape, seed=seed)
    listed = ", ".join(f"{item:.4f}" for item in array.reshape(-1))
    return f"float[{', '.join(map(str, shape))}] {{{listed}}}"


def block(rest: str, inputs: str = "", outputs: str = "float[n, 4] y", opset: int = 18) -> Model:
    """A transformer block over [n, s, 4] that ends in ``h``, and what ``rest`` does with it."""
    body = BLOCK.format(wq=tensor(4, 4), wk=tensor(4, 4, seed=1))
    more = f", {inputs}" if inputs else ""
    return model_of(
        f"""<ir_version: 8, opset_import: ["": {opset}]>
        g (float[n, s, 4] x{more}) => ({outputs}) {{ {body} {rest} }}"""
    )


def moved(before: Model) -> tuple[Model, Changes]:
    after = clone(before)
    lift_constants(after)
    infer_symbols(after)
    return after, select_early(after)


FEEDS = (
    {"x": normal(1, 1, 4)},
    {"x": normal(2, 5, 4)},
    {"x": normal(3, 16, 4, seed=1)},
)
FIRST = "i = Constant<value_int=0>() y = Gather<axis=1>(h, i)"
LAST = """b = Constant<value_ints=[-1]>() e = Constant<value_ints=[9223372036854775807]>()
    o = Constant<value_ints=[1]>() c = Slice(h, b, e, o) y = Squeeze(c, o)"""


def shapes(model: Model, kind: str) -> list[str]:
    return [str(node.outputs[0].shape) for node in model.graph if node.op_type == kind]


@pytest.mark.parametrize("rest", [FIRST, FIRST.replace("0", "-1"), LAST])
def test_what_follows_attention_is_computed_for_one_token(rest: str) -> None:
    before = block(rest)
    after, done = moved(before)
    check(after, *FEEDS, exact=False, before=before)
    assert done.count == 1
    (note,) = done.notes
    assert note.startswith("9 operators before '")
    # The queries, their scores, what attention makes, the layer behind; keys need every token.
    counted = sum("1," in shape.replace("]", ",") for shape in shapes(after, "MatMul"))
    assert counted == (0 if rest is LAST else 4)
    assert shapes(after, "MatMul").count("[n,s,4]") == 1


def test_a_second_run_finds_nothing() -> None:
    after, _ = moved(block(FIRST))
    infer_symbols(after)
    assert select_early(after).count == 0


def test_an_index_known_at_run_time_only() -> None:
    before = block("y = Gather<axis=1>(h, i)", "int64 i")
    after, done = moved(before)
    assert done.count == 1
    feeds = ({**FEEDS[1], "i": np.array(each)} for each in (3, -2))
    check(after, *feeds, exact=False, before=before)


def test_an_index_that_is_out_of_range_still_fails() -> None:
    after, done = moved(block("i = Constant<value_int=7>() y = Gather<axis=1>(h, i)"))
    assert done.count == 1
    with pytest.raises(Exception, match="out of data bounds"):
        check(after, FEEDS[1], before=after)


def test_a_token_of_its_own_for_each_of_the_batch() -> None:
    rest = """j = Cast<to=7>(t) z = Shape<start=0, end=1>(x) zero = Constant<value_int=0>()
        one = Constant<value_int=1>() last = Constant<value_ints=[-1]>() m = Squeeze(z)
        range = Range(zero, m, one) u0 = Unsqueeze(range, last) u1 = Unsqueeze(j, last)
        at = Concat<axis=-1>(u0, u1) y = GatherND(h, at)"""
    before = block(rest, "int32[n] t")
    after, done = moved(before)
    # Attention mixes the rows of one batch: only what follows it can be moved.
    assert done.notes[0].startswith("5 operators")
    check(
        after,
        {"x": normal(2, 5, 4), "t": np.array([4, 0], np.int32)},
        {"x": normal(1, 3, 4), "t": np.array([1], np.int32)},
        exact=False,
        before=before,
    )


@pytest.mark.parametrize(
    "flat", ["f = Flatten<axis=2>(h)", "to = Constant<value_ints=[-1, 4]>() f = Reshape(h, to)"]
)
def test_rows_of_a_flattened_batch(flat: str) -> None:
    before = block(f"{flat} y = Gather<axis=0>(f, t)", "int64[n] t")
    after, done = moved(before)
    assert done.notes[0].startswith("5 operators")
    check(
        after,
        {"x": normal(2, 5, 4), "t": np.array([4, 7])},
        {"x": normal(3, 1, 4), "t": np.array([2, 0, 1])},
        exact=False,
        before=before,
    )


HEADS = """apart = Constant<value_ints=[0, 5, 2, 2]>() joined = Constant<value_ints=[-1, 5, 4]>()
    a4 = Reshape(h, apart) t4 = Transpose<perm=[0, 2, 1, 3]>(a4) e4 = Exp(t4)
    v4 = Transpose<perm=[0, 2, 1, 3]>(e4) j3 = Reshape{}(v4, joined)
    i = Constant<value_int=2>() y = Gather<axis=1>(j3, i)"""


@pytest.mark.parametrize("attributes", ["", "<allowzero=1>"])
def test_lengths_that_a_reshape_spells_out(attributes: str) -> None:
    text = HEADS.format(attributes)
    body = BLOCK.format(wq=tensor(4, 4), wk=tensor(4, 4, seed=1))
    before = model_of(
        f"""<ir_version: 8, opset_import: ["": 18]>
        g (float[n, 5, 4] x) => (float[n, 4] y) {{ {body} {text} }}"""
    )
    after, done = moved(before)
    assert done.notes[0].startswith("14 operators")
    check(after, {"x": normal(1, 5, 4)}, {"x": normal(3, 5, 4)}, exact=False, before=before)


@pytest.mark.parametrize(
    ("rest", "outputs"),
    [
        (FIRST, "float[n, 4] y, float[n, s, 4] h"),  # the whole is an output
        (f"{FIRST} z = ReduceMax<keepdims=0>(h)", "float[n, 4] y, float z"),  # others read more
        (
            "i = Constant<value_int=0>() c = CumSum(h, i) y = Gather<axis=1>(c, i)",
            "float[n, 4] y",
        ),  # places of the axis may mix
        (
            "i = Constant<value_ints=[0, 0, 0]>() y = Gather<axis=1>(h, i)",
            "float[n, 3, 4] y",
        ),  # it may be more than there was
    ],
)
def test_what_must_be_computed_for_every_token(rest: str, outputs: str) -> None:
    before = block(rest, outputs=outputs)
    after, done = moved(before)
    assert done.count == 0
    assert ops(after)["MatMul"] == ops(before)["MatMul"]
    assert not done.notes


def test_most_of_an_axis_is_not_worth_a_move() -> None:
    rest = """b = Constant<value_ints=[1]>() e = Constant<value_ints=[9223372036854775807]>()
        y = Slice(h, b, e, b)"""
    assert moved(block(rest, outputs="float[n, m, 4] y"))[1].count == 0


def test_elementwise_operators_alone_stay() -> None:
    before = model_of(
        """<ir_version: 8, opset_import: ["": 18]>
        g (float[n, s, 4] x) => (float[n, 4] y)
        { h = Relu(x) k = Add(h, h) i = Constant<value_int=0>() y = Gather<axis=1>(k, i) }"""
    )
    assert moved(before)[1].count == 0


def test_two_that_take_the_same() -> None:
    rest = f"{FIRST} i2 = Constant<value_int=0>() z = Gather<axis=1>(h, i2)"
    before = block(rest, outputs="float[n, 4] y, float[n, 4] z")
    after, done = moved(before)
    assert done.count == 1
    check(after, *FEEDS, exact=False, before=before)


def test_what_a_body_reads_is_computed_for_every_token() -> None:
    rest = f"""{FIRST} yes = Constant<value_int=1>() cond = Cast<to=9>(yes)
        z = If(cond) <then_branch = a () => (float[n, s, 4] za) {{ za = Neg(h) }},
                      else_branch = b () => (float[n, s, 4] zb) {{ zb = Abs(h) }}>"""
    before = block(rest, outputs="float[n, 4] y, float[n, s, 4] z")
    after, done = moved(before)
    assert done.count == 0
    check(after, *FEEDS, before=before)


def test_attributes_of_older_opsets() -> None:
    before = model_of(
        f"""<ir_version: 7, opset_import: ["": 11]>
        g (float[n, s, 4] x) => (float[n, 4] y)
        {{ w = Constant<value={tensor(4, 4)}>() h = MatMul(x, w)
           i = Constant<value=int64 {{0}}>() y = Gather<axis=1>(h, i) }}"""
    )
    after, done = moved(before)
    assert done.count == 1
    check(after, *FEEDS, exact=False, before=before)


def test_a_mask_and_the_residual_are_cut_where_others_read_them() -> None:
    body = BLOCK.format(wq=tensor(4, 4), wk=tensor(4, 4, seed=1))
    body = body.replace("p = Softmax<axis=-1>(s)", "sm = Add(s, m) p = Softmax<axis=-1>(sm)")
    before = model_of(
        f"""<ir_version: 8, opset_import: ["": 18]>
        g (float[n, s, 4] x, float[n, s, s] m) => (float[n, 4] y) {{ {body} {FIRST} }}"""
    )
    after, done = moved(before)
    assert done.count == 1
    assert ops(after)["Gather"] == 2
    check(after, {"x": normal(2, 5, 4), "m": normal(2, 5, 5)}, exact=False, before=before)


@pytest.mark.parametrize("level", ["basic", "extended", "all"])
def test_every_level_has_it(level: str) -> None:
    before = block(FIRST)
    done = optimize(before, level=level)
    assert {each.name for each in done.changes} >= {"select_early"}
    ir.to_proto(done.model)
    check(done.model, *FEEDS, exact=False, before=before)
