"""Element types of outputs, for values the exporter left untyped."""

import onnx_ir as ir

from modelkit.passes.symbols.known import option
from modelkit.passes.symbols.several import CONTRIB_RULES
from modelkit.passes.symbols.shapes import ELEMENTWISE, REDUCTIONS, SAME

BOOL = frozenset(
    ("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not",
     "Or", "Xor")
)  # fmt: skip
INT64 = frozenset(("ArgMax", "ArgMin", "NonZero", "Shape", "Size"))
FIRST = frozenset(
    (*SAME, *ELEMENTWISE, *(f"Reduce{kind}" for kind in REDUCTIONS), "Attention", "AveragePool",
     "Compress", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "Einsum", "Expand", "Flatten",
     "GRU", "Gather", "GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
     "LSTM", "LpPool", "MatMul", "MaxPool", "OneHot", "Pad", "RMSNormalization", "RNN", "Range",
     "Reshape", "Resize", "RotaryEmbedding", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
     "TopK", "Transpose", "Unsqueeze", "Upsample")
) - {"QuantizeLinear", "DequantizeLinear", "EyeLike", "Bernoulli", "RandomNormalLike",
     "RandomUniformLike"}  # fmt: skip
VALUES_AT = {"OneHot": 2, "Where": 1}
"""Which input gives the type, where it is not the first."""


def dtype_of(node: ir.Node, position: int) -> ir.DataType | None:
    """The element type of an output by the operator's schema, None where not told here."""
    kind = node.op_type
    if node.domain not in ("", "ai.onnx"):
        first = node.inputs[0] if kind in CONTRIB_RULES and position == 0 else None
        return None if first is None else first.dtype
    if kind == "Constant":
        tensor = ir.convenience.get_const_tensor(node.outputs[0])
        return None if tensor is None else tensor.dtype
    if kind == "Cast":
        to = option(node, "to")
        return None if to is None else ir.DataType(to)
    if kind in BOOL or (kind == "Dropout" and position == 1):
        return ir.DataType.BOOL
    if kind in INT64 or (kind in ("TopK", "MaxPool") and position == 1):
        return ir.DataType.INT64
    if kind == "ConstantOfShape":
        value = option(node, "value")
        return ir.DataType.FLOAT if value is None else ir.DataType(value.dtype)
    if kind not in FIRST or (kind in ("BatchNormalization", "LayerNormalization") and position):
        return None
    source = node.inputs[VALUES_AT.get(kind, 0)]
    return None if source is None else source.dtype
