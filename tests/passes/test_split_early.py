import numpy as np
import pytest

from modelkit.passes import BASIC, run_passes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.split_early import split_early
from tests.passes.harness import applied, check, model_of, normal, ops


def scores(between: str, last: str = "b, three, s, t", opset: int = 17) -> str:
    """Products of flattened batches, what is done to them, and the axes they get back."""
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
    g (float[b, 3, s, 5] x, float[b, 3, t, 5] z, float[b, 3, 1, t] far4, float[f, 1, t] other, bool[1, s, t] seen)
    => (float[i, 3, k, l] y)
    <int64[1] three = {{3}}, int64[1] minus = {{-1}}, int64[1] five = {{5}}, float half = {{0.5}},
     float low = {{-1e38}}> {{
      b = Shape<start = 0, end = 1>(x) s = Shape<start = 2, end = 3>(x)
      t = Shape<start = 2, end = 3>(z) n = Mul(b, three)
      first = Concat<axis = 0>(n, minus, five) last = Concat<axis = 0>({last})
      one = Constant<value_ints = [1]>() row = Concat<axis = 0>(n, one, t)
      far = Reshape(far4, row) f = Reshape(x, first) g = Reshape(z, first) u = Transpose<perm = [0, 2, 1]>(g)
      m = MatMul(f, u) {between} r = Reshape(e, last) y = Exp(r)
    }}"""


BETWEEN = {
    "scaled": "e = Mul(half, m)",
    "moved": "h = Mul(m, half) e = Add(h, far)",
    "chosen": "e = Where(seen, m, low)",
    "weighed": "h = Add(m, far) e = Softmax<axis = 2>(h)",
    "several": "h = Div(m, half) i = Sum(h, far, half) e = Max(i, low)",
}


def feeds(batch: int, rows: int, columns: int) -> dict[str, np.ndarray]:
    return {
        "x": normal(batch, 3, rows, 5),
        "z": normal(batch, 3, columns, 5),
        "far4": normal(batch, 3, 1, columns),
        "other": normal(3 * batch, 1, columns),
        "seen": np.tri(rows, columns, dtype=bool)[None],
    }


SIZES = [feeds(1, 1, 1), feeds(2, 4, 6), feeds(1, 3, 2)]


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN.keys())
def test_scores_get_their_axes_where_they_are_made(between: str) -> None:
    source = scores(between)
    before, model = model_of(source), model_of(source)
    run_passes(model, BASIC)
    check(model, *SIZES, before=before)
    assert "Reshape" not in ops(model)
    product = next(node for node in model.graph if node.op_type == "MatMul").outputs[0]
    assert product.shape is not None
    assert len(product.shape) == 4


def test_shares_that_are_flattened_and_split_again() -> None:
    # As older decoders of transformers weigh: flat only for Softmax.
    source = scores(
        "h = Mul(m, half) e = Identity(h)",
    ).replace(
        "y = Exp(r)",
        """o = Max(r, low) flat = Concat<axis = 0>(n, s, t) a = Reshape(o, flat)
        w = Softmax<axis = -1>(a) back = Reshape(w, last) y = Exp(back)""",
    )
    before, model = model_of(source), model_of(source)
    run_passes(model, BASIC)
    check(model, *SIZES, before=before)
    assert "Reshape" not in ops(model)


def test_a_batch_of_one_head_keeps_its_axes() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[1, 1, s, t] x) => (float[i, j, k, l] y)
    <int64[1] one = {1}, float half = {0.5}> {
      s = Shape<start = 2>(x) three = Concat<axis = 0>(one, s) four = Concat<axis = 0>(one, one, s)
      f = Reshape(x, three) e = Mul(f, half) r = Reshape(e, four) y = Exp(r)
    }"""
    before, model = model_of(text), model_of(text)
    run_passes(model, BASIC)
    check(model, {"x": normal(1, 1, 4, 6)}, before=before)
    assert ops(model) == {"Mul": 1, "Exp": 1}


@pytest.mark.parametrize(
    "text",
    [
        scores("e = Softmax<axis = 1>(m)"),
        scores("e = CumSum(m, axis)").replace("float half", "int64 axis = {1}, float half"),
        scores("h = Mul(m, half) e = Relu(h)"),
        scores("e = Add(m, other)"),
        scores("e = Mul(m, half)").replace("y = Exp(r)", "q = ReduceMax(e) y = Add(r, q)"),
        scores("e = Mul(m, half)", last="b, three, t, s"),
        scores("e = Mul(m, half)").replace("(float[i, 3, k, l] y)", "(float[i, 3, k, l] r)")
        .replace("y = Exp(r)", ""),
    ],
    ids=["axis", "running", "relu", "other batch", "read flat", "turned", "output"],
)  # fmt: skip
def test_others_stay(text: str) -> None:
    _, count = applied(text, infer_symbols, split_early, trials=tuple(SIZES[1:]))
    assert count == 0


def test_before_shape_has_a_start() -> None:
    text = scores("e = Mul(m, half)", opset=13)
    for name, axis in (("b", 0), ("s", 2)):
        text = text.replace(f"Shape<start = {axis}, end = {axis + 1}>(x)", f"Identity({name}n)")
        text = text.replace("int64[1] three", f"int64[1] {name}n = {{2}}, int64[1] three")
    text = text.replace("Shape<start = 2, end = 3>(z)", "Identity(sn)")
    _, count = applied(text, infer_symbols, split_early, trials=())
    assert count == 0
