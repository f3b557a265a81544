from pathlib import Path

import pytest

from modelkit.model import load
from modelkit.quantize import islands
from modelkit.rewrite import apply, read_fusion
from tests.models import model_file

TEXT = """<ir_version: 10, opset_import: ["": 20]> g (float[n, s, 32] x) => (float[n, s, 48] y)
<int64[1] ax = {1}, float[48, GROUPS, 1, 1] w> {
u = Unsqueeze(x, ax) t = Transpose<perm=[0,3,1,2]>(u) c = Conv<ATTRIBUTES>(t, w)
r = Transpose<perm=[0,2,3,1]>(c) y = Squeeze(r, ax) }"""


@pytest.mark.parametrize(
    ("attributes", "groups", "reason"),
    [
        ("kernel_shape=[1,1]", "32", ""),
        ("group=2", "16", "its group are not plain"),
        ("strides=[1,2]", "32", "its strides are not plain"),
        ("pads=[0,1,0,1]", "32", "its pads are not plain"),
    ],
)
def test_only_plain_convolutions_are_linear_layers(
    tmp_path: Path, attributes: str, groups: str, reason: str
) -> None:
    text = TEXT.replace("ATTRIBUTES", attributes).replace("GROUPS", groups)
    model = load(model_file(tmp_path / "m.onnx", text))
    found = apply([read_fusion(islands)], model, allow=lambda fusion: None)
    assert [miss.reason for miss in found.near_misses] == ([reason] if reason else [])
    assert ("MatMul" in [node.op_type for node in model.graph]) == (not reason)


def test_a_layer_of_a_matrix_is_one_too(tmp_path: Path) -> None:
    text = TEXT.replace("ATTRIBUTES", "kernel_shape=[1,1]").replace("GROUPS", "32")
    text = text.replace("int64[1] ax = {1}", "int64[2] ax = {0, 1}").replace("[n, s,", "[n,")
    model = load(model_file(tmp_path / "m.onnx", text))
    found = apply([read_fusion(islands)], model, allow=lambda fusion: None)
    assert [change.count for change in found.changes] == [1]
    assert "Conv" not in [node.op_type for node in model.graph]
    wrong = text.replace("{0, 1}", "{1, 2}")
    model = load(model_file(tmp_path / "m.onnx", wrong))
    found = apply([read_fusion(islands)], model, allow=lambda fusion: None)
    assert [miss.reason for miss in found.near_misses] == ["the axes added are not before the rows"]
