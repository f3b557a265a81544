import numpy as np
import pytest

from modelkit.passes.fold_constants import fold_constants
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from tests.passes.harness import applied, model_of, normal, ops

WEIGHTS = """<float[2, 3] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, float scale = {0.5},
 int64[1] huge = {99999999999}, int64[2] million = {1000, 1000}, float one = {1.0},
 int64 least = {-9223372036854775808}, int64 minus = {-1}, int64[1] k = {3},
 uint8[3] q = {1, 2, 3}, float[1] s = {0.5}>"""


def graph(*lines: str, kind: str = "float", rank: str = "i, j") -> str:
    body = "\n".join(lines)
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 2] x) => ({kind}[{rank}] y) {WEIGHTS} {{ {body} }}"""


def test_a_tree_of_constants_becomes_one_weight() -> None:
    text = graph(
        "t = Transpose(w)", "u = Mul(t, scale)", "v = Exp(u)", "y = Gemm<transB = 1>(x, v)"
    )
    model, count = applied(text, infer_symbols, fold_constants, trials=({"x": normal(4, 2)},))
    assert (count, ops(model)) == (3, {"Gemm": 1})


def test_inside_a_branch() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (bool c, float[n, 2] x) => (float[n, 2] y) <float[2] w = {1.0, 2.0}> {
      y = If(c) <
        then_branch = t () => (float[n, 2] p) { e = Exp(w)
                                                p = Mul(x, e) },
        else_branch = e () => (float[n, 2] p) { p = Neg(x) }>
    }"""
    feeds = tuple({"c": np.array(c), "x": normal(3, 2)} for c in (True, False))
    model, count = applied(text, infer_symbols, fold_constants, trials=feeds)
    assert (count, ops(model)) == (1, {"If": 1, "Mul": 1, "Neg": 1})


@pytest.mark.parametrize(
    "lines",
    [
        ["a = ConstantOfShape(huge)", "b = ReduceSum<keepdims = 0>(a)", "y = Add(x, b)"],
        ["a = Expand(scale, million)", "b = ReduceSum<keepdims = 0>(a)", "y = Add(x, b)"],
    ],
)
def test_a_memory_bomb_is_left_with_a_note(lines: list[str]) -> None:
    model = model_of(graph(*lines))
    infer_symbols(model)
    done = fold_constants(model)
    assert done.count == 0
    assert done.notes[0].endswith("bytes")


@pytest.mark.parametrize(
    "lines",
    [
        ["a = RandomNormalLike(w)", "b = ReduceSum<keepdims = 0>(a)", "y = Add(x, b)"],
        ["a = Div(least, minus)", "b = Cast<to = 1>(a)", "y = Add(x, b)"],
        ["a = DequantizeLinear(q, one)", "b = ReduceSum<keepdims = 0>(a)", "y = Add(x, b)"],
    ],
)
def test_chance_crashes_and_quantization_are_left_alone(lines: list[str]) -> None:
    first = lines[0].split(" = ")[1].split("(")[0]
    model, _ = applied(graph(*lines), infer_symbols, fold_constants)
    assert first in ops(model)


def test_one_refused_node_does_not_spoil_the_others() -> None:
    text = graph("a = Gather(w, k)", "b = ReduceSum<keepdims = 0>(a)", "c = Exp(scale)",
                 "d = Mul(b, c)", "y = Add(x, d)")  # fmt: skip
    model = model_of(text)
    infer_symbols(model)
    done = fold_constants(model)
    assert "Exp" not in ops(model)
    assert "Gather" in ops(model)
    assert any("not folded" in note for note in done.notes)


def test_an_output_stays_computed() -> None:
    model, count = applied(graph("z = Exp(w)", "y = Neg(z)"), infer_symbols, fold_constants)
    assert (count, ops(model)) == (1, {"Neg": 1})


def test_a_scalar_keeps_its_rank() -> None:
    text = graph("c = Constant<value_float = 2.0>()", "e = Exp(c)", "y = Mul(x, e)")
    model, _ = applied(text, lift_constants, infer_symbols, fold_constants)
    folded = model.graph.initializers["e_folded"].const_value
    assert folded is not None
    assert tuple(folded.shape) == ()


def test_statistics_that_nobody_reads_are_no_reason_to_wait() -> None:
    norm = "m, a, b = BatchNormalization<training_mode=1>(w, ones, zeros, zeros, ones)"
    text = graph(norm, "y = MatMul(x, m)").replace(
        "uint8[3] q",
        "float[3] ones = {1.0, 1.0, 1.0}, float[3] zeros = {0.0, 0.0, 0.0}, uint8[3] q",
    )
    model, count = applied(text, infer_symbols, fold_constants, trials=({"x": normal(4, 2)},))
    assert (count, ops(model)) == (1, {"MatMul": 1})
