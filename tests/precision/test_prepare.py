from pathlib import Path

import pytest

from modelkit.model import const_of, load
from modelkit.precision.narrow import HALVES
from modelkit.precision.prepare import prepared
from tests.models import model_file
from tests.precision.graphs import BF16, FP16, graph
from tests.rewrite.test_winograd import written, written_open

CONV = "(float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) <float[2, 2, 1, 1] w> { y = Conv(x, w) }"


def test_bfloat16_raises_the_opset_where_operators_need_it() -> None:
    assert graph(CONV, BF16).graph.opset_imports[""] == 22
    assert graph(CONV, FP16).graph.opset_imports[""] == 17
    plain = "(float[n, 2] x) => (float[n, 2] y) <float[2, 2] w> { y = MatMul(x, w) }"
    assert graph(plain, BF16).graph.opset_imports[""] == 17


@pytest.mark.parametrize("half", HALVES.values())
def test_the_source_is_left_as_it_was(half: object, tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 11]> g ' + CONV
    model = load(model_file(tmp_path / "m.onnx", text))
    prepared(model, half)  # type: ignore[arg-type]
    assert model.graph.opset_imports[""] == 11
    assert [node.op_type for node in model.graph] == ["Conv"]


def test_every_node_has_a_name_of_its_own() -> None:
    model = graph("(float[n] x) => (float[n] y) { [a] b = Neg(x) [a] c = Neg(b) y = Neg(c) }")
    names = [node.name for node in model.graph]
    assert len(set(names)) == 3 and all(names)


def test_constants_become_weights() -> None:
    model = graph(
        "(float[n] x) => (float[n] y) { k = Constant<value_float = 2.0>() y = Mul(x, k) }"
    )
    assert [node.op_type for node in model.graph] == ["Mul"]
    assert list(model.graph.initializers)


def test_models_of_other_domains_alone_need_no_opset(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["ai.onnx.ml": 3]>
    g (float[2, 3] x) => (float[2, 3] y) { y = ai.onnx.ml.Normalizer<norm = "L2">(x) }"""
    model = prepared(load(model_file(tmp_path / "m.onnx", text)), FP16)
    assert dict(model.graph.opset_imports) == {"ai.onnx.ml": 3}


def test_a_convolution_computed_by_winograds_algorithm_is_narrowed_as_a_convolution() -> None:
    made = prepared(written(), FP16)
    assert [node.op_type for node in made.graph] == ["Conv", "Abs", "Conv"]
    made = prepared(written_open(), FP16)
    assert [node.op_type for node in made.graph] == ["Conv", "Conv", "Relu", "Abs", "Conv"]


def test_paddings_that_the_runtime_misreads_are_kept() -> None:
    model = graph(
        """(float[n, 1, 8, 8] x) => (float[n, 1, h, w] y) <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}>
        { c = Neg(x) q = Pad(c, p) y = MaxPool<kernel_shape = [3, 3]>(q) }"""
    )
    pad = next(node for node in model.graph if node.op_type == "Pad")
    value = const_of(pad.inputs[2])
    assert value is not None
    assert 0 < value.item() < 1e-30
