import onnx_ir as ir
import pytest

from modelkit.passes.infer_symbols import infer_symbols
from tests.passes.harness import model_of


@pytest.mark.parametrize(
    ("node", "dtype"),
    [
        ("Relu(x)", ir.DataType.DOUBLE),
        ("Equal(x, x)", ir.DataType.BOOL),
        ("Shape(x)", ir.DataType.INT64),
        ("Cast<to = 10>(x)", ir.DataType.FLOAT16),
        ("ConstantOfShape(i)", ir.DataType.FLOAT),
        ("ConstantOfShape<value = int32[1] {1}>(i)", ir.DataType.INT32),
        ("Where(b, x, x)", ir.DataType.DOUBLE),
        ("ArgMax(x)", ir.DataType.INT64),
        ("Gather(x, i)", ir.DataType.DOUBLE),
        ("MatMulInteger(q, q)", None),
        ("QuantizeLinear(x, x)", None),
    ],
)
def test_types(node: str, dtype: ir.DataType | None) -> None:
    model = model_of(
        f"""<ir_version: 8, opset_import: ["": 17]>
        g (double[n, n] x, int64[1] i, bool[1] b, uint8[n, n] q) => (float y) {{
          r = {node}
          y = Identity(r)
        }}"""
    )
    infer_symbols(model)
    assert model.graph[0].outputs[0].dtype == dtype
