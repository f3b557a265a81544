from pathlib import Path

import onnx
import pytest

from modelkit.errors import BadInput
from modelkit.model import load
from tests.models import parsed

GOOD = """<ir_version: 10, opset_import: ["": 20]> g (float[2] x) => (float[2] y)
<float[2] w> { a = Add(x, w) y = Neg(a) }"""


def refused(model: onnx.ModelProto, tmp_path: Path) -> str:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadInput) as caught:
        load(path)
    return caught.value.message


def test_a_value_defined_twice(tmp_path: Path) -> None:
    model = parsed(GOOD)
    model.graph.node.append(onnx.helper.make_node("Abs", ["x"], ["a"]))
    assert "'a'" in refused(model, tmp_path)


def test_two_initializers_of_one_name(tmp_path: Path) -> None:
    model = parsed(GOOD)
    model.graph.initializer.append(model.graph.initializer[0])
    assert "initializer 'w' more than once" in refused(model, tmp_path)


def test_a_cycle_and_a_wrong_order(tmp_path: Path) -> None:
    model = parsed(GOOD)
    nodes = [model.graph.node[1], model.graph.node[0]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    assert "reads 'a' before anything produces it" in refused(model, tmp_path)


def test_an_output_nobody_makes(tmp_path: Path) -> None:
    model = parsed(GOOD)
    model.graph.output[0].name = "nothing"
    assert "output 'nothing'" in refused(model, tmp_path)


def test_a_domain_not_imported(tmp_path: Path) -> None:
    model = parsed(GOOD)
    model.graph.node[1].domain = "com.example\x1b[2J"
    message = refused(model, tmp_path)
    assert "does not import" in message
    assert "\x1b" not in message


def test_an_opset_imported_twice(tmp_path: Path) -> None:
    model = parsed(GOOD)
    model.opset_import.append(onnx.helper.make_opsetid("", 18))
    assert "opset domain '' more than once" in refused(model, tmp_path)


def test_a_negative_dimension(tmp_path: Path) -> None:
    model = parsed(GOOD)
    model.graph.initializer[0].dims[0] = -7
    assert "negative dimension" in refused(model, tmp_path)


def test_a_body_may_read_outer_values_but_not_later_ones(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (bool c, float[2] x) => (float[2] y)
    { a = Neg(x) y = If (c) <then_branch = t () => (float[2] p) { p = Exp(a) },
      else_branch = f () => (float[2] q) { q = Exp(late) }> late = Abs(x) }"""
    assert "reads 'late'" in refused(parsed(text), tmp_path)


def laughs(depth: int) -> onnx.ModelProto:
    functions = [
        onnx.helper.make_function(
            "d", f"f{i}", ["x"], ["y"],
            [
                onnx.helper.make_node(f"f{i - 1}" if i else "Neg", ["x"], ["t"], domain="d" if i else ""),
                onnx.helper.make_node(f"f{i - 1}" if i else "Neg", ["t"], ["y"], domain="d" if i else ""),
            ],
            [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("d", 1)],
        )
        for i in range(depth)
    ]  # fmt: skip
    model = parsed(GOOD)
    model.opset_import.append(onnx.helper.make_opsetid("d", 1))
    model.graph.node[1].op_type, model.graph.node[1].domain = f"f{depth - 1}", "d"
    model.functions.extend(functions)
    return model


def test_a_billion_laughs_are_counted_not_expanded(tmp_path: Path) -> None:
    assert "nodes when its functions are expanded" in refused(laughs(31), tmp_path)
    path = tmp_path / "few.onnx"
    path.write_bytes(laughs(4).SerializeToString())
    load(path)


def test_a_function_that_calls_itself(tmp_path: Path) -> None:
    model = laughs(2)
    model.functions[0].node[0].op_type, model.functions[0].node[0].domain = "f1", "d"
    assert "calls itself" in refused(model, tmp_path)


def test_no_graph_at_all(tmp_path: Path) -> None:
    model = onnx.ModelProto(ir_version=8)
    assert "not an ONNX model" in refused(model, tmp_path)
