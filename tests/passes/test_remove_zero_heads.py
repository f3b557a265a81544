from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.model import Model, load, operator_counts, save, validate
from modelkit.optimize import optimize
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.remove_zero_heads import remove_zero_heads
from tests.harness import floats
from tests.models import parsed, run

HEADS, WIDTH = 3, 4
MASKED = "f = Add(e, m)"


def text(mask: str = MASKED, shape: str = "n, 1, s, s", bias: bool = True) -> str:
    lines = []
    for name in "qkv":
        made = f"{name}1 = Add({name}0, b{name}) " if bias else ""
        lines.append(
            f"{name}0 = MatMul(x, w{name}) {made}{name}2 = Reshape({name}{int(bias)}, split)"
        )
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, s, 12] x, float[{shape}] m) => (float[n, s, 5] y)
    <float[12, 12] wq, float[12, 12] wk, float[12, 12] wv, float[12, 5] wo,
     float[12] bq, float[12] bk, float[12] bv> {{
    split = Constant<value_ints=[0, 0, 3, 4]>() joined = Constant<value_ints=[0, 0, 12]>()
    {" ".join(lines)}
    q = Transpose<perm=[0,2,1,3]>(q2) k = Transpose<perm=[0,2,3,1]>(k2)
    v = Transpose<perm=[0,2,1,3]>(v2) c = Constant<value_float=0.5>()
    d = MatMul(q, k) e = Mul(d, c) {mask} p = Softmax<axis=-1>(f) a = MatMul(p, v)
    t = Transpose<perm=[0,2,1,3]>(a) r = Reshape(t, joined) y = MatMul(r, wo) }}"""


def pruned(tmp_path: Path, source: str, zero: dict[str, list[int]]) -> Path:
    """The model with heads of ``v`` or of ``o``, the layer behind, set to zero."""
    proto = parsed(source)
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).copy()
        for part, heads in zero.items():
            for head in heads:
                place = slice(head * WIDTH, (head + 1) * WIDTH)
                if tensor.name == "wo" and part == "o":
                    array[place] = 0
                elif tensor.name in ("wv", "bv") and part == "v":
                    array[..., place] = 0
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def narrowed(path: Path) -> tuple[int, Model]:
    model = load(path)
    lift_constants(model)
    infer_symbols(model)
    done = remove_zero_heads(model)
    infer_symbols(model)
    validate(model)
    return done.count, model


def feeds(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"x": floats(2, 5, 12), "m": floats(*shape, seed=1)}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("zero", "left"), [({"v": [1]}, 2), ({"o": [0, 2]}, 1), ({"v": [0], "o": [1]}, 1)]
)
def test_zero_heads_go(zero: dict[str, list[int]], left: int, bias: bool, tmp_path: Path) -> None:
    path = pruned(tmp_path, text(bias=bias), zero)
    count, model = narrowed(path)
    assert count == 1
    assert model.graph.initializers["wo_heads"].shape == [left * WIDTH, 5]
    after = save(model, tmp_path / "after.onnx")
    inputs = feeds((2, 1, 5, 5))
    np.testing.assert_allclose(run(after, inputs)["y"], run(path, inputs)["y"], atol=1e-5)


def test_all_zero_leaves_one(tmp_path: Path) -> None:
    _, model = narrowed(pruned(tmp_path, text(), {"o": [0, 1, 2]}))
    assert model.graph.initializers["wo_heads"].shape == [WIDTH, 5]


def test_a_mask_for_each_head_keeps_them(tmp_path: Path) -> None:
    path = pruned(tmp_path, text(shape="n, 3, s, s"), {"v": [1]})
    assert narrowed(path)[0] == 0


def test_heads_that_count_stay(tmp_path: Path) -> None:
    assert narrowed(pruned(tmp_path, text(), {}))[0] == 0


def test_the_whole_optimizer_makes_it_attention_of_fewer_heads(tmp_path: Path) -> None:
    path = pruned(tmp_path, text(), {"v": [2]})
    model = optimize(load(path)).model
    assert operator_counts(model)["Attention"] == 1
    node = next(node for node in model.graph if node.op_type == "Attention")
    assert node.attributes["q_num_heads"].value == 2
    inputs = feeds((2, 1, 5, 5))
    after = save(model, tmp_path / "after.onnx")
    np.testing.assert_allclose(run(after, inputs)["y"], run(path, inputs)["y"], atol=1e-5)
