from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from modelkit.model import load
from modelkit.precision.types import is_wide, settle_types, text_of
from tests.models import parsed
from tests.precision import lab_cases


def settled(text: str, folder: Path) -> dict[str, str]:
    """Every value's type once what the file states is forgotten."""
    onnx.save(parsed(text), folder / "m.onnx")
    model = load(folder / "m.onnx")
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.type = None
    settle_types(model)
    return {
        value.name or "": text_of(value.type)
        for node in model.graph.all_nodes()
        for value in node.outputs
    }


HEAD = '<ir_version: 9, opset_import: ["": 19]> g '


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("y = Add(x, x)", "tensor(float)"),
        ("y = Cast<to = 10>(x)", "tensor(float16)"),
        ("y = Shape(x)", "tensor(int64)"),
        ("s = Shape(x) y = ConstantOfShape<value = double[1] {2}>(s)", "tensor(double)"),
        ("s = Shape(x) y = ConstantOfShape(s)", "tensor(float)"),
        ("y = RandomNormalLike(x)", "tensor(float)"),
        ("y = RandomNormalLike<dtype = 11>(x)", "tensor(double)"),
        ("y = EyeLike<dtype = 7>(x)", "tensor(int64)"),
        ("y = SplitToSequence(x)", "seq(tensor(float))"),
        (
            "i = Constant<value_int = 0>() s = SplitToSequence(x) y = SequenceAt(s, i)",
            "tensor(float)",
        ),
        ("s = Constant<value_float = 1.0>() y = QuantizeLinear(x, s)", "tensor(uint8)"),
        ("w = Constant<value_int = 3>() y = HannWindow(w)", "tensor(float)"),
        ("y, m = LayerNormalization(x, x)", "tensor(float)"),
        ("y = Equal(x, x)", "tensor(bool)"),
    ],
)
def test_the_type_follows_from_the_operator(body: str, kind: str, tmp_path: Path) -> None:
    text = f"{HEAD}(float[2, 2] x) => (float z) {{ {body} z = Constant<value_float = 0.0>() }}"
    assert settled(text, tmp_path)["y"] == kind


def test_operators_of_the_runtime_have_types_too(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["": 19, "com.microsoft": 1]>
    g (double[2, 2] x) => (double[2, 2] y) { y = com.microsoft.FusedMatMul(x, x) }"""
    assert settled(text, tmp_path)["y"] == "tensor(double)"


@pytest.mark.parametrize("name", lab_cases.NAMES)
def test_every_value_of_the_lab_gets_the_type_onnx_infers(name: str, tmp_path: Path) -> None:
    proto = lab_cases.proto(name)
    onnx.save(proto, tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx")
    for node in model.graph:
        for value in node.outputs:
            value.type = None
    settle_types(model)
    inferred = onnx.shape_inference.infer_shapes(proto)
    found = {value.name: value for node in model.graph if not node.domain for value in node.outputs}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        if value.name in found and value.type.HasField("tensor_type"):
            expected = ir.DataType(value.type.tensor_type.elem_type)
            assert found[value.name].dtype is expected


def test_wide_are_tensors_of_float_and_double() -> None:
    for kind, wide in (("FLOAT", True), ("DOUBLE", True), ("FLOAT16", False), ("INT64", False)):
        value = ir.Value(name="v", type=ir.TensorType(ir.DataType[kind]))
        assert is_wide(value) is wide
    sequence = ir.SequenceType(ir.TensorType(ir.DataType.FLOAT))
    assert not is_wide(ir.Value(name="v", type=sequence)) and not is_wide(None)
