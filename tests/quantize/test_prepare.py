from modelkit.model import const_of
from modelkit.quantize.modes import restored
from modelkit.quantize.prepare import prepared
from tests.passes.recurrent_loops import LSTM, loop_model, loop_text
from tests.quantize.graphs import model_of
from tests.rewrite.test_winograd import written, written_open


def test_normalizations_go_into_convolutions_and_old_opsets_are_raised() -> None:
    text = """(float[n, 4, 8, 8] x) => (float[n, 8, h, w] y)
    <float[8, 4, 3, 3] a, float[8] s, float[8] b, float[8] m, float[8] q>
    { v = Abs(q) c = Conv(x, a) y = BatchNormalization(c, s, b, m, v) }"""
    source = model_of(text, opset=11)
    made = prepared(source, 13)
    assert [node.op_type for node in made.graph] == ["Conv"]
    assert made.graph.opset_imports[""] == 13
    assert source.graph.opset_imports[""] == 11


def test_a_convolution_computed_by_winograds_algorithm_is_quantized_as_a_convolution() -> None:
    made = prepared(written(), 13)
    assert [node.op_type for node in made.graph] == ["Conv", "Abs", "Conv"]
    assert not made.functions
    made = prepared(written_open(), 13)
    assert [node.op_type for node in made.graph] == ["Conv", "Conv", "Relu", "Abs", "Conv"]


def test_loops_of_recurrent_layers_become_these() -> None:
    source = loop_model(loop_text(LSTM, memory=True), 4)
    made = prepared(source, 13)
    kinds = [node.op_type for node in made.graph]
    assert "LSTM" in kinds
    assert "Loop" not in kinds
    (note,) = restored(source, made)
    assert note.startswith("1 loop became")
    assert restored(made, made) == ()


def test_paddings_that_the_runtime_misreads_are_kept() -> None:
    text = """(float[n, 4, 8, 8] x) => (float[n, 8, h, w] y)
    <float[8, 4, 3, 3] a, int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}>
    { c = Conv(x, a) q = Pad(c, p) y = MaxPool<kernel_shape = [3, 3]>(q) }"""
    made = prepared(model_of(text), 13)
    pad = next(node for node in made.graph if node.op_type == "Pad")
    value = const_of(pad.inputs[2])
    assert value is not None
    assert 0 < value.item() < 1e-30
