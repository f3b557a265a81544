import numpy as np
import onnx
import onnx_ir as ir
import pytest

from modelkit.passes.axis_sources import axis_sources
from tests.passes.harness import model_of, normal, run

FIVE = "float[2, 3, 5, 4] x"
NODES = [
    # the inputs, the node, for each axis of the result whether it can be followed
    (FIVE, "y = Gelu(x)", "yyyy"),
    (f"{FIVE}, float[5, 1] z", "y = Add(x, z)", "yyyy"),
    (f"{FIVE}, float[4] z", "y = Mul(z, x)", "yyyy"),
    (f"{FIVE}, float[4] z", "y = LayerNormalization<axis=-1>(x, z)", "yyyn"),
    (f"{FIVE}, float[5, 4] z", "y = LayerNormalization<axis=2>(x, z)", "yynn"),
    (FIVE, "y = Softmax<axis=1>(x)", "ynyy"),
    (FIVE, "y = LogSoftmax(x)", "yyyn"),
    (FIVE, "a = Constant<value_ints=[1]>() y = ReduceMean(x, a)", "ynyy"),
    (FIVE, "a = Constant<value_ints=[1, -1]>() y = ReduceSum<keepdims=0>(x, a)", "yy"),
    (FIVE, "y = ReduceMax(x)", "nnnn"),
    (f"{FIVE}, float[4, 6] z", "y = MatMul(x, z)", "yyyn"),
    (f"{FIVE}, float[3, 4, 6] z", "y = MatMul(x, z)", "yyyn"),
    (f"{FIVE}, float[2, 3, 4, 6] z", "y = MatMul(x, z)", "yyyn"),
    (f"{FIVE}, float[4] z", "y = MatMul(x, z)", "nnn"),
    ("float[5, 4] x, float[4, 6] z, float[6] b", "y = Gemm(x, z, b)", "yn"),
    ("float[4, 5] x, float[6, 4] z", "y = Gemm<transA=1, transB=1>(x, z)", "yn"),
    ("float[5, 4] x, float[4, 6] z, float[5, 1] b", "y = Gemm(x, z, b)", "yn"),
    ("float[2, 4, 5, 5] x, float[6, 4, 1, 1] z", "y = Conv(x, z)", "nnyy"),
    ("float[2, 4, 5, 5] x, float[6, 4, 3, 3] z", "y = Conv(x, z)", "nnnn"),
    ("float[2, 4, 5, 5] x, float[6, 4, 1, 1] z", "y = Conv<strides=[2, 1]>(x, z)", "nnnn"),
    ("float[2, 4, 5, 5] x, float[6, 4, 1, 1] z", "y = Conv<pads=[1, 0, 0, 0]>(x, z)", "nnnn"),
    (FIVE, "y = Transpose<perm=[2, 0, 3, 1]>(x)", "yyyy"),
    (FIVE, "y = Transpose(x)", "yyyy"),
    (FIVE, "a = Constant<value_ints=[2, 3, -1]>() y = Reshape(x, a)", "yyn"),
    (FIVE, "a = Constant<value_ints=[0, 0, 5, 2, 2]>() y = Reshape(x, a)", "yyynn"),
    (FIVE, "a = Constant<value_ints=[6, 5, 4]>() y = Reshape(x, a)", "nnn"),
    (FIVE, "a = Constant<value_ints=[0, -1]>() y = Unsqueeze(x, a)", "nyyyyn"),
    ("float[1, 3, 1, 4] x", "a = Constant<value_ints=[-2]>() y = Squeeze(x, a)", "yyy"),
    (FIVE, "b = Constant<value_ints=[1]>() e = Constant<value_ints=[3]>() "
     "a = Constant<value_ints=[2]>() y = Slice(x, b, e, a)", "yyny"),
    (FIVE, "y, w = Split<axis=1, num_outputs=3>(x)".replace("y, w", "y, v, w"), "ynyy"),
    (f"{FIVE}, float[2, 3, 5, 7] z", "y = Concat<axis=-1>(x, z)", "yyyn"),
    (FIVE, "y = Expand(x, s)", "nnnn"),
    (FIVE, "y = CumSum(x, s)", "nnnn"),
    ("float[2, 3, 8] x, float[2, 5, 8] z", "y = Attention<q_num_heads=2, kv_num_heads=2>(x, z, z)",
     "nyn"),
    ("float[2, 3, 8] x, float[2, 5, 8] z, float[2, 1, 3, 5] m",
     "y = Attention<q_num_heads=2, kv_num_heads=2>(x, z, z, m)", "nyn"),
    ("float[2, 3, 8] x, float[2, 5, 8] z",
     "y = Attention<q_num_heads=2, kv_num_heads=2, is_causal=1>(x, z, z)", "nnn"),
    ("float[2, 2, 3, 8] x, float[2, 2, 5, 8] z", "y = Attention(x, z, z)", "nnyn"),
    (FIVE, "s = Constant<value_float=0.1>() y = QuantizeLinear(x, s)", "yyyy"),
    (f"{FIVE}, float[3] s", "y = QuantizeLinear<axis=1>(x, s)", "ynyy"),
]  # fmt: skip


def built(inputs: str, node: str) -> ir.Model:
    kind = "uint8" if "QuantizeLinear" in node else "float"
    text = f"""<ir_version: 11, opset_import: ["": 23]> g ({inputs}) => ({kind} y) {{ {node} }}"""
    proto = ir.to_proto(model_of(text))
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    proto = onnx.shape_inference.infer_shapes(proto)
    return ir.serde.deserialize_model(proto)


@pytest.mark.parametrize(("inputs", "node", "known"), NODES)
def test_some_places_of_a_result_come_from_the_same_places(
    inputs: str, node: str, known: str
) -> None:
    model = built(inputs, node)
    last = next(each for each in model.graph if "y" in {value.name for value in each.outputs})
    found = [axis_sources(last, axis, 23) for axis in range(len(known))]
    assert "".join("n" if each is None else "y" for each in found) == known
    feeds = {
        str(value.name): np.abs(normal(*(value.shape or ir.Shape([])).numpy(), seed=3)) + 0.1
        for value in model.graph.inputs
    }
    if "s = " not in node and "s)" in node and "float[3] s" not in inputs:
        return  # operators that are not known: nothing to compare
    (whole, *_) = run(model, feeds)
    for axis, sources in enumerate(found):
        if sources is None or whole.shape[axis] == 1:
            continue
        part = dict(feeds)
        for value, own in zip(last.inputs, sources, strict=True):
            if own is not None:
                assert value is not None
                part[str(value.name)] = np.take(feeds[str(value.name)], [0, 2], axis=own) if (
                    feeds[str(value.name)].shape[own] > 2
                ) else np.take(feeds[str(value.name)], [1], axis=own)  # fmt: skip
        places = [0, 2] if whole.shape[axis] > 2 else [1]
        (narrow, *_) = run(relaxed(model, axis, len(places)), part)
        np.testing.assert_allclose(narrow, np.take(whole, places, axis=axis), rtol=1e-5, atol=1e-6)


def relaxed(model: ir.Model, axis: int, length: int) -> ir.Model:
    """The model with free shapes; a target that spells the axis out gets the new length."""
    proto = ir.to_proto(model)
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    del proto.graph.value_info[:]
    if any(node.op_type == "Reshape" for node in proto.graph.node):
        target = proto.graph.node[0].attribute[0].ints
        target[axis] = length
    return ir.serde.deserialize_model(proto)


def test_shapes_that_are_not_known() -> None:
    model = model_of(
        """<ir_version: 8, opset_import: ["": 18]>
        g (float[n, s, 4] x, float[n, t, 4] z) => (float[n, s, 4] y) { y = Add(x, z) }"""
    )
    (node,) = model.graph
    assert axis_sources(node, 0, 18) == (0, 0)
    assert axis_sources(node, 1, 18) is None  # one of the two may have length 1
    assert axis_sources(node, 2, 18) == (2, 2)


def test_softmax_of_old_opsets_mixes_all_that_follows() -> None:
    model = model_of(
        """<ir_version: 7, opset_import: ["": 11]>
        g (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Softmax<axis=1>(x) }"""
    )
    (node,) = model.graph
    assert [axis_sources(node, axis, 11) for axis in range(3)] == [(0,), None, None]


@pytest.mark.parametrize(
    ("node", "known"),
    [
        ("com.microsoft.QuickGelu(x)", "yyy"),
        ("com.microsoft.SkipLayerNormalization(x, z, b)", "yyn"),
        ("com.microsoft.MatMulNBits<K=4, N=6, bits=4, block_size=16>(x, z, b)", "yyn"),
        ("other.Gelu(x)", "nnn"),
    ],
)
def test_other_domains(node: str, known: str) -> None:
    model = model_of(
        f"""<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1, "other": 1]>
        g (float[n, s, 4] x, float[n, s, 4] z, float[4] b) => (float[n, s, 4] y) {{ y = {node} }}"""
    )
    (made,) = model.graph
    found = [axis_sources(made, axis, 18) for axis in range(3)]
    assert "".join("n" if each is None else "y" for each in found) == known
