import numpy as np
import pytest

from modelkit.passes import BASIC, run_passes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.split_batches import split_batches
from tests.passes.harness import applied, check, model_of, normal, ops


def flattened(
    left: str = "batch, 3, 4, 5",
    right: str = "batch, 3, 5, 6",
    back: str = "-1, 3, 4, 6",
    swap: str = "u = Identity(g)",
    rows: str = "4, 5",
    columns: str = "5, 6",
) -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[{left}] x, float[{right}] z) => (float[i, j, k, l] y)
    <int64[3] first = {{-1, {rows}}}, int64[3] second = {{-1, {columns}}},
     int64[{back.count(",") + 1}] last = {{{back}}}> {{
      f = Reshape(x, first) g = Reshape(z, second) {swap}
      m = MatMul(f, u) r = Reshape(m, last) y = Exp(r)
    }}"""


def feeds(left: tuple[int, ...], right: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"x": normal(*left), "z": normal(*right)}


def after(text: str, *trials: dict[str, np.ndarray]) -> dict[str, int]:
    before, model = model_of(text), model_of(text)
    run_passes(model, BASIC)
    check(model, *trials, before=before)
    return ops(model)


def test_batches_that_were_flattened_are_multiplied_as_such() -> None:
    trials = [feeds((b, 3, 4, 5), (b, 3, 5, 6)) for b in (1, 2)]
    assert after(flattened(), *trials) == {"MatMul": 1, "Exp": 1}


def test_an_operand_may_be_swapped_behind() -> None:
    text = flattened(
        right="batch, 3, 6, 5", columns="6, 5", swap="u = Transpose<perm = [0, 2, 1]>(g)"
    )
    trial = feeds((2, 3, 4, 5), (2, 3, 6, 5))
    assert after(text, trial) == {"Transpose": 1, "MatMul": 1, "Exp": 1}


def test_axes_of_one_go() -> None:
    text = flattened(left="batch, 1, 3, 4, 1, 5", right="batch, 3, 1, 5, 6")
    trial = feeds((2, 1, 3, 4, 1, 5), (2, 3, 1, 5, 6))
    assert after(text, trial) == {"Squeeze": 2, "MatMul": 1, "Exp": 1}


def test_axes_of_one_behind_stay() -> None:
    text = flattened(back="-1, 3, 4, 6, 1").replace("[i, j, k, l]", "[i, j, k, l, o]")
    trial = feeds((2, 3, 4, 5), (2, 3, 5, 6))
    assert after(text, trial) == {"MatMul": 1, "Unsqueeze": 1, "Exp": 1}


def test_a_reader_in_a_branch_keeps_its_flat_batch() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[batch, 3, 4, 5] x, float[batch, 3, 5, 6] z, bool q) => (float[i, j, k, l, o] y)
    <int64[3] first = {-1, 4, 5}, int64[3] second = {-1, 5, 6}, int64[5] last = {-1, 3, 1, 4, 6}> {
      f = Reshape(x, first) g = Reshape(z, second) m = MatMul(f, g)
      y = If(q) <then_branch = t () => (float[i, j, k, l, o] r1) { r = Reshape(m, last) r1 = Exp(r) },
                 else_branch = e () => (float[i, j, k, l, o] r3) { r2 = Reshape(m, last) r3 = Neg(r2) }>
    }"""
    trial = {**feeds((2, 3, 4, 5), (2, 3, 5, 6)), "q": np.array(True)}
    assert after(text, trial)["MatMul"] == 1


def test_an_operand_that_is_an_output_of_other_names_is_known() -> None:
    # Caches of decoders: exporters give the axes of outputs names of their own.
    text = flattened(rows="4, 5").replace(
        "(float[batch, 3, 4, 5] x, float[batch, 3, 5, 6] z) => (float[i, j, k, l] y)",
        "(float[batch, 3, 4, 5] x, float[batch, 3, 5, 6] z) => (float[i, j, k, l] y, float[o, p, q, r] c)",
    )
    text = text.replace("g = Reshape(z, second)", "c = Neg(z) g = Reshape(c, second)")
    trials = [feeds((b, 3, 4, 5), (b, 3, 5, 6)) for b in (1, 2)]
    assert after(text, *trials) == {"Neg": 1, "MatMul": 1, "Exp": 1}


def test_rows_of_one_number_are_no_axes_of_one() -> None:
    text = flattened(left="batch, 3, 1, 5", rows="1, 5", back="-1, 3, 1, 6")
    trial = feeds((2, 3, 1, 5), (2, 3, 5, 6))
    assert after(text, trial) == {"MatMul": 1, "Exp": 1}


@pytest.mark.parametrize(
    "text",
    [
        flattened(right="batch, 1, 3, 5, 6").replace("batch, 3, 4", "3, batch, 4"),
        flattened(back="3, -1, 4, 6"),
        flattened(back="-1, 3, 2, 12"),
        flattened(left="batch, 3, 5, 4"),
        flattened().replace("y = Exp(r)", "e = Exp(m) s = ReduceMax(e) y = Add(r, s)"),
        flattened().replace("float[i, j, k, l] y", "float[i, j, k, l] y, float[n, o, p] m"),
    ],
    ids=["order", "other batch", "other rows", "other axes", "read flat", "an output"],
)
def test_others_stay(text: str) -> None:
    left = (3, 2, 4, 5) if "[3, batch" in text else (2, 3, 4, 5)
    left = (2, 3, 5, 4) if "3, 5, 4" in text else left
    right = (2, 1, 3, 5, 6) if "1, 3, 5, 6" in text else (2, 3, 5, 6)
    model, count = applied(text, infer_symbols, split_batches, trials=(feeds(left, right),))
    assert count == 0
    assert ops(model)["MatMul"] == 1
