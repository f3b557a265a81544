from pathlib import Path

import numpy as np
import pytest

from modelkit.model import load, save
from modelkit.optimize import optimize
from tests.harness import floats, rewritten
from tests.models import model_file, run

FEEDS = [{"x": floats(n, 7, 7, 64)} for n in (1, 3)]
REASON = "mlp_as_conv"


def text(act: str = "Gelu(q)", wide: int = 128, shape: str = "n, 7, 7, 64", opset: int = 20) -> str:
    return f"""<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]>
    g (float[{shape}] x) => (float[{shape}] y)
    <float[64, {wide}] w1, float[{wide}] b1, float[{wide}, 64] w2, float[64] b2>
    {{ p = MatMul(x, w1) q = Add(b1, p) h = {act} r = MatMul(h, w2) y = Add(r, b2) }}"""


@pytest.mark.parametrize(
    "act", ["Gelu(q)", "Relu(q)", "com.microsoft.QuickGelu<alpha=1.0>(q)", "LeakyRelu(q)"]
)
def test_two_layers_become_convolutions(act: str) -> None:
    result = rewritten(text(act), [REASON], FEEDS)
    kind = act.split("(")[0].split("<")[0].split(".")[-1]
    assert result.operators == ["Transpose", "Conv", kind, "Conv", "Transpose"]


def test_attributes_of_the_activation_stay() -> None:
    result = rewritten(text('Gelu<approximate="tanh">(q)'), [REASON], FEEDS)
    (made,) = (node for node in result.model.graph if node.op_type == "Gelu")
    assert made.attributes["approximate"].as_string() == "tanh"


def test_rows_of_a_sequence_whose_length_is_known() -> None:
    result = rewritten(text(shape="n, 49, 64"), [REASON], [{"x": floats(2, 49, 64)}])
    assert result.operators[0] == "Unsqueeze"
    assert result.operators[-1] == "Squeeze"


def test_layers_without_a_bias() -> None:
    source = text().replace("q = Add(b1, p)", "q = Identity(p)").replace("q = Identity(p)", "")
    source = source.replace("Gelu(q)", "Gelu(p)")
    source = source.replace("r = MatMul(h, w2) y = Add(r, b2)", "y = MatMul(h, w2)")
    result = rewritten(source, [REASON], FEEDS)
    assert result.operators == ["Transpose", "Conv", "Gelu", "Conv", "Transpose"]


def test_the_residual_of_a_block_joins_its_last_layer(tmp_path: Path) -> None:
    """As ConvNeXt has it: no copy between the layouts stands between two blocks but for the norm."""
    source = """<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 64, 14, 14] x) => (float[n, 64, 14, 14] y)
    <float[64, 1, 7, 7] k, float[64] g, float[64, 128] w1, float[128] b1,
     float[128, 64] w2, float[64] b2> {
    c = Conv<group=64, pads=[3,3,3,3]>(x, k) t = Transpose<perm=[0,2,3,1]>(c)
    m = LayerNormalization<axis=-1>(t, g) p = MatMul(m, w1) q = Add(p, b1) h = Gelu(q)
    r = MatMul(h, w2) z = Add(r, b2) o = Transpose<perm=[0,3,1,2]>(z) y = Add(o, x) }"""
    path = model_file(tmp_path / "m.onnx", source)
    done = optimize(load(path)).model
    operators = [node.op_type for node in done.graph]
    assert operators[-4:] == ["Conv", "Gelu", "Conv", "Add"]
    inputs = {"x": floats(2, 64, 14, 14)}
    after = run(save(done, tmp_path / "after.onnx"), inputs)
    np.testing.assert_allclose(after["y"], run(path, inputs)["y"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(shape="n, h, 7, 64"), "it is not known to have 49 rows"),
        (text(shape="n, s, 64"), "it is not known to have 49 rows"),
        (text(wide=120), "its widths are not multiples of 16"),
        (text(wide=48), "it has too few weights"),
        (text().replace("<float[64, 128] w1", "<float[1] w1"), "a weight is not a constant matrix"),
        (text().replace("float[128] b1", "float[1] b1"), "a bias is not a constant vector"),
    ],
)
def test_what_is_refused(source: str, reason: str) -> None:
    if "[1] w1" in source:
        source = source.replace("<float[1] w1,", "<").replace(
            "float[n, 7, 7, 64] x)", "float[n, 7, 7, 64] x, float[64, 128] w1)"
        )
        feeds = [{**FEEDS[0], "w1": floats(64, 128)}]
    else:
        feeds = FEEDS if "7, 7" in source else []
    assert rewritten(source, [REASON], feeds).reason(REASON) == reason


def test_many_weights_are_left_to_each_layer_alone() -> None:
    result = rewritten(text(wide=2048), [REASON], FEEDS)
    assert result.counts == {}
    assert not result.near_misses
