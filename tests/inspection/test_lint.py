from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.inspection.lint import lint_findings
from modelkit.inspection.weights import tensors
from modelkit.model import facts, load
from tests.models import linear_text, model_file


def test_each_kind_of_finding_comes_once(tmp_path: Path) -> None:
    text = linear_text(4, 3).replace("y = Add(m, b)", "y = Add(m, b) z = Magic(m)")
    path = model_file(tmp_path / "m.onnx", text)
    model = load(path)
    found = list(lint_findings(model, facts(model, path), tensors(model)))
    assert [line.split(",")[0] for line in found] == [
        "1 nodes whose results nobody reads",
        "3 nodes have no name",
        "Magic is no operator of opset 20",
    ]


def test_paddings_that_the_runtime_misreads_are_found(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1, 2, 8, 8] x) => (float[1, 2, a, b] y)
    <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}> {
    m = Neg(x) q = Pad(m, p) y = MaxPool<kernel_shape=[3, 3]>(q) }"""
    path = model_file(tmp_path / "m.onnx", text)
    model = load(path)
    found = list(lint_findings(model, facts(model, path), tensors(model)))
    assert found[-1].startswith("1 padding by zero stands before a pooling")
    assert "Pad" in [node.op_type for node in model.graph]
    right = model_file(tmp_path / "r.onnx", text.replace("Neg", "Relu"))
    assert not [
        line
        for line in lint_findings(load(right), facts(load(right), right), [])
        if "padding" in line
    ]


def test_denormal_weights_are_found(tmp_path: Path) -> None:
    text = linear_text(4, 3)
    path = model_file(tmp_path / "m.onnx", text)
    model = load(path)
    weight = model.graph.initializers["w"]
    assert weight.const_value is not None
    array = np.full((4, 3), 1e-40, np.float32)
    assert weight.const_value.shape == array.shape
    weight.const_value = ir.tensor(array, name="w")
    found = list(lint_findings(model, facts(model, path), []))
    assert (
        "1 weight tensor holds numbers below 2**-100, as 'w': denormal numbers are slow"
        in found[-1]
    )
