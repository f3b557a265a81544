import numpy as np
import onnxruntime as ort
import pytest

from modelkit.model import Model, clone
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.remove_default_inputs import remove_default_inputs
from modelkit.passes.restore_recurrences import restore_recurrences
from tests.passes.harness import check, ops, run
from tests.passes.recurrent_loops import (
    GATES,
    GRU_AFTER,
    GRU_BEFORE,
    LSTM,
    RNN,
    feeds,
    loop_model,
    loop_text,
)

TRIALS = (feeds(1, 1), feeds(2, 7), feeds(3, 4))
HARD = {
    "clip to 1": "p = Mul({0}0, fifth) d = Add(p, half) {0} = Clip(d, low, one)",
    "clip to 6": "d = Add({0}0, three) p = Clip(d, low, top) {0} = Mul(p, sixth)",
    "over 6": "d = Add({0}0, three) p = Clip(d, low, top) {0} = Div(p, top)",
    "Min in Max": "p = Mul({0}0, fifth) d = Add(p, half) e = Min(d, one) {0} = Max(low, e)",
    "Max in Min": "p = Mul({0}0, fifth) d = Add(p, half) e = Max(d, low) {0} = Min(e, one)",
    "Relu in Min": "d = Add({0}0, three) e = Relu(d) p = Min(e, top) {0} = Mul(sixth, p)",
    "HardSigmoid": "{0} = HardSigmoid<alpha = 0.3, beta = 0.4>({0}0)",
}


def restored(text: str, gates: int, *, exact: bool = False) -> tuple[Model, int]:
    model = loop_model(text, gates)
    infer_symbols(model)
    before = clone(model)
    count = restore_recurrences(model).count
    check(model, *TRIALS, exact=exact, before=before)
    return model, count


@pytest.mark.parametrize(
    ("body", "op"), [(RNN, "RNN"), (LSTM, "LSTM"), (GRU_BEFORE, "GRU"), (GRU_AFTER, "GRU")]
)
def test_cells_become_layers(body: str, op: str) -> None:
    model, count = restored(loop_text(body, memory=op == "LSTM"), GATES[body])
    assert count == 1
    assert ops(model)[op] == 1
    assert "Loop" not in ops(model)


@pytest.mark.parametrize("how", HARD)
def test_hard_sigmoids_however_they_are_spelled(how: str) -> None:
    body = LSTM
    for gate in "ifo":
        spelled = HARD[how].format(gate)
        for name in "pde":
            spelled = spelled.replace(f"{name} =", f"{name}{gate} =")
            spelled = spelled.replace(f"({name}", f"({name}{gate}")
            spelled = spelled.replace(f", {name})", f", {name}{gate})")
        body = body.replace(f"{gate} = Sigmoid({gate}0)", spelled)
    model, count = restored(loop_text(body, memory=True), 4)
    assert count == 1
    (layer,) = [node for node in model.graph if node.op_type == "LSTM"]
    activations = layer.attributes["activations"].as_strings()
    assert list(activations) == ["HardSigmoid", "Tanh", "Tanh"]


@pytest.mark.parametrize(
    "text",
    [
        loop_text(RNN, limit="", on="Less(at2, dim)"),
        loop_text(RNN, on="Identity(going)"),
        loop_text(RNN.replace("MatMul(x, w)", "MatMul(x, held)"), carried="w"),
        loop_text(RNN.replace("m = MatMul(h, r)", "k = Mul(h, ones) m = MatMul(k, r)")),
        loop_text("a = Gemm<transB = 0>(x, w, b) m = MatMul(h, r) z = Add(m, a) h2 = Relu(z)"),
        loop_text("a = MatMul(x, w) q = MatMul(h, r) m = Sub(q, b) z = Add(a, m) h2 = Sigmoid(z)"),
        loop_text(RNN).replace("(seq, at)", "(seq, no)"),
        loop_text(
            """a = Gemm<beta = 0.0>(x, w, half) m = MatMul(h, r) s = Add(a, m)
            rows = Concat<axis = 0>(k1, k4) row = Reshape(b, rows) wide = Expand(row, rows)
            z = Add(s, wide) h2 = Tanh(z)"""
        ),
    ],
    ids=["no limit", "no end", "carried weights", "dropout off", "Gemm", "minus", "counted", "jax"],
)
def test_spellings_of_loops(text: str) -> None:
    model, count = restored(text, 1)
    assert count == 1
    assert "Loop" not in ops(model)


def test_a_loop_that_counts_its_turns_only() -> None:
    text = loop_text(RNN, on="Identity(going)").replace("(seq, at)", "(seq, no)")
    for old, new in (
        ("go, zero, h0", "go, h0"),
        ("int64 at, ", ""),
        ("int64 at2, ", ""),
        ("at2 = Add(at, step) ", ""),
        ("times, end", "end"),
    ):
        assert old in text
        text = text.replace(old, new)
    _, count = restored(text, 1)
    assert count == 1
    _, count = restored(text.replace("Loop(limit", "Loop(zero"), 1)
    assert count == 0


STAYING = {
    "an end of its own": loop_text(RNN, limit="", on="Less(at2, step)"),
    "a limit of its own": loop_text(RNN, limit="step"),
    "one turn more": loop_text(RNN, limit="", on="Less(no, dim)"),
    "another condition": loop_text(
        RNN, on="Not(big)", before="", limit="limit"
    ).replace("on =", "norm = ReduceSum<keepdims = 0>(h) big = Less(top, norm) on ="),
    "another clock": loop_text(RNN).replace("at2 = Add(at, step)", "at2 = Sub(at, step)"),
    "x twice": loop_text(RNN.replace("a = ", "x9 = Gather<axis = 0>(seq, at) e = Mul(x9, x) a = ")),
    "x left out": loop_text("m = MatMul(h, r) s = Add(m, b) h2 = Tanh(s)"),
    "a weight of x": loop_text(RNN.replace("MatMul(x, w)", "MatMul(x, k)").replace(
        "a =", "k = Mul(w, half) a =")),
    "no activation": loop_text(RNN.replace("h2 = Tanh(z)", "h2 = Exp(z)")),
    "something else stacked": loop_text(RNN, stacked="z"),
    "a skip": loop_text(RNN.replace("h2 = Tanh(z)", "q = Tanh(z) h2 = Add(q, h)")),
}  # fmt: skip


@pytest.mark.parametrize("why", STAYING)
def test_other_loops_stay(why: str) -> None:
    model = loop_model(STAYING[why], 1)
    infer_symbols(model)
    assert restore_recurrences(model).count == 0


@pytest.mark.parametrize(
    "change",
    [
        ("o = Sigmoid(o0)", "o = Tanh(o0)"),
        ("t = Tanh(c2)", "t = Tanh(ig)"),
        ("fc = Mul(f, c)", "fc = Mul(f, h)"),
        ("g = Tanh(g0)", "g = Exp(g0)"),
        ("h2 = Mul(o, t)", "e = Mul(o, t) h2 = Where(going, e, h)"),
    ],
)
def test_other_cells_stay(change: tuple[str, str]) -> None:
    model = loop_model(loop_text(LSTM.replace(*change), memory=True), 4)
    infer_symbols(model)
    assert restore_recurrences(model).count == 0


@pytest.mark.parametrize(
    "change",
    [
        ("rest = Sub(one, u)", "rest = Sub(half, u)"),
        ("rest = Sub(one, u)", "rest = Sub(one, q)"),
        ("old = Mul(u, h)", "old = Mul(q, h)"),
        ("qh = Mul(q, h)", "qh = Mul(n0, h)"),
    ],
)
def test_what_is_nearly_a_gru_stays(change: tuple[str, str]) -> None:
    model = loop_model(loop_text(GRU_BEFORE.replace(*change)), 3)
    infer_symbols(model)
    assert restore_recurrences(model).count == 0


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
@pytest.mark.parametrize("body", [LSTM, GRU_AFTER])
def test_empty_inputs_are_an_error_and_not_the_end_of_the_process(
    body: str, shape: tuple[int, int]
) -> None:
    model = loop_model(loop_text(body, memory=body is LSTM), GATES[body])
    infer_symbols(model)
    changes = restore_recurrences(model)
    remove_default_inputs(model)
    assert any("length 0" in note for note in changes.notes)
    with pytest.raises(ort.capi.onnxruntime_pybind11_state.InvalidArgument, match="out of"):
        run(model, feeds(*shape))


def test_nothing_is_told_of_layers_that_take_empty_inputs() -> None:
    model = loop_model(loop_text(RNN), 1)
    infer_symbols(model)
    before = clone(model)
    assert restore_recurrences(model).notes == ()
    check(model, feeds(0, 3), exact=False, before=before)


def test_the_bodys_nodes_let_go_of_what_they_read() -> None:
    model, _ = restored(loop_text(RNN), 1)
    names = {value.name for value in model.graph.initializers.values() if value.uses()}
    assert "w" not in names
    assert np.isfinite(run(model, feeds(2, 3))[0]).all()
