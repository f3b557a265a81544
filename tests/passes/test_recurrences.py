import numpy as np

from modelkit.passes.cells import Cell
from modelkit.passes.recurrences import recurrence_of
from modelkit.passes.surgery import attribute
from tests.passes.recurrent_loops import GRU_AFTER, LSTM, RNN, SIZE, WIDTH, loop_model, loop_text


def cell_of(body: str, gates: int, *, memory: bool = False) -> Cell:
    model = loop_model(loop_text(body, memory=memory), gates)
    (loop,) = [node for node in model.graph if node.op_type == "Loop"]
    inside = attribute(loop, "body")
    (step,) = [node.outputs[0] for node in inside if node.outputs[0].name == "x"]
    return Cell(inside, step, tuple(inside.inputs[3:]), {})


def test_gates_stand_in_the_order_of_onnx() -> None:
    cell = cell_of(LSTM, 4, memory=True)
    found = recurrence_of(cell, cell.body.outputs[2:4])
    assert found is not None
    assert (found.op, found.hidden, found.memory) == ("LSTM", *cell.states)
    w, r = found.weights
    assert (w.shape, r.shape) == ((1, 4 * SIZE, WIDTH), (1, 4 * SIZE, SIZE))
    model = loop_model(loop_text(LSTM, memory=True), 4)
    held = model.graph.initializers["w"].const_value
    assert held is not None
    given = held.numpy().T.reshape(4, SIZE, WIDTH)  # i, f, g, o
    np.testing.assert_array_equal(w.reshape(4, SIZE, WIDTH), given[[0, 3, 1, 2]])


def test_the_states_may_stand_in_any_order() -> None:
    cell = cell_of(LSTM, 4, memory=True)
    turned = Cell(cell.body, cell.step, cell.states[::-1], {})
    found = recurrence_of(turned, cell.body.outputs[2:4][::-1])
    assert found is not None
    assert found.hidden is cell.states[0]


def test_what_is_added_before_the_reset_is_kept_apart() -> None:
    cell = cell_of(GRU_AFTER, 3)
    found = recurrence_of(cell, cell.body.outputs[2:3])
    assert found is not None
    assert found.attributes["linear_before_reset"] == 1
    of_x, of_h = found.bias[0].reshape(2, 3, SIZE)
    assert np.abs(of_h[2]).min() > 0
    assert not of_h[:2].any()
    assert np.abs(of_x).min() > 0


def test_one_state_is_no_lstm_and_three_are_nothing() -> None:
    cell = cell_of(RNN, 1)
    found = recurrence_of(cell, cell.body.outputs[2:3])
    assert found is not None
    assert found.op == "RNN"
    assert recurrence_of(cell, []) is None
