from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.model import load, save
from modelkit.passes.opsets.widened import widened
from tests.models import model_file, run


def text(body: str, opset: int, x: str = "float[n, 3, 6, 6]", y: str = "float[n, c, h, w]") -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]> g ({x} x) => ({y} y)
    <float[4, 3, 3, 3] w, float[3] s> {{ {body} }}"""


SAME = [
    ("y = Relu(x)", 13, 23),
    ("y = MaxPool<kernel_shape=[2,2]>(x)", 12, 23),
    ("c = Conv(x, w) y = LeakyRelu<alpha=0.2>(c)", 11, 22),
    ("a = AveragePool<kernel_shape=[2,2]>(x) y = Sigmoid(a)", 18, 23),
    ("h = Constant<value_ints=[1, 2]>() a, y = Split<axis=1>(x, h)", 13, 23),
    ("c = Cast<to=11>(x) y = Cast<to=1>(c)", 13, 21),
]


@pytest.mark.parametrize(("body", "old", "new"), SAME)
def test_what_only_widened_keeps_its_spelling(
    body: str, old: int, new: int, tmp_path: Path
) -> None:
    before = model_file(tmp_path / "m.onnx", text(body, old))
    model = load(before)
    spelled = [node.op_type for node in model.graph]
    assert widened(model, new)
    after = save(model, tmp_path / "after.onnx")
    onnx.checker.check_model(onnx.load(after), full_check=True)
    assert [node.op_type for node in load(after).graph] == spelled
    x = {"x": np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)}
    np.testing.assert_allclose(run(after, x)["y"], run(before, x)["y"], rtol=1e-6)


CHANGED = [
    ("y = ReduceMean<axes=[2]>(x)", 17, 18),
    ("y = Softmax<axis=1>(x)", 12, 13),
    ("a, y = Split<axis=2>(x)", 17, 18),
    ("y = AveragePool<kernel_shape=[2,2], ceil_mode=1>(x)", 18, 19),
    ("y = Unsqueeze<axes=[0]>(x)", 11, 13),
    ("y = GroupNormalization<num_groups=3>(x, s, s)", 18, 21),
    ("y = Relu(x)", 10, 13),
    ("y = Dropout<ratio=0.5>(x)", 11, 13),
]


@pytest.mark.parametrize(("body", "old", "new"), CHANGED)
def test_what_must_be_rewritten_is_left(body: str, old: int, new: int, tmp_path: Path) -> None:
    model = load(model_file(tmp_path / "m.onnx", text(body, old)))
    assert not widened(model, new)
    assert model.opset_imports[""] == old
