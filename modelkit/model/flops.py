"""How much arithmetic an operator does, counted from shapes alone.

A multiplication and an addition are two operations, as in a processor's peak figures.  Matrix
products, convolutions, attention and recurrent layers are counted exactly; normalizations and
elementwise operators by their elements; operators that only move data are none.
"""

from collections.abc import Sequence
from math import prod

Shape = Sequence[int]

_PRODUCTS = {
    "MatMul", "FusedMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul",
    "QLinearMatMul", "MatMulNBits", "MatMulBnb4", "Gemm", "FusedGemm", "QGemm", "GemmFloat8",
}  # fmt: skip
_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
_RECURRENT = {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"}
_ATTENTION = {"Attention", "MultiHeadAttention", "GroupQueryAttention"}
_MOVES = {
    "Cast", "Compress", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout",
    "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "If", "Loop",
    "MemcpyFromHost", "MemcpyToHost", "NonZero", "OneHot", "Pad", "Range", "Reshape",
    "ReorderInput", "ReorderOutput", "ReverseSequence", "Scan", "ScatterElements", "ScatterND",
    "SequenceAt", "SequenceConstruct", "SequenceInsert", "Shape", "Size", "Slice", "SpaceToDepth",
    "Split", "SplitToSequence", "Squeeze", "Tile", "Transpose", "Trilu", "Unique", "Unsqueeze",
    "Where",
}  # fmt: skip
# Operations an element, from their definitions; the others do about one.
_EACH = {
    "Softmax": 5, "LogSoftmax": 6, "LayerNormalization": 8, "SimplifiedLayerNormalization": 5,
    "SkipLayerNormalization": 9, "RMSNormalization": 5, "GroupNormalization": 8,
    "InstanceNormalization": 8, "BatchNormalization": 2, "Gelu": 8, "BiasGelu": 9, "FastGelu": 8,
    "QuickGelu": 5, "Erf": 8, "Tanh": 6, "Sigmoid": 4, "Silu": 5, "HardSwish": 4, "Mish": 10,
    "RotaryEmbedding": 3,
}  # fmt: skip
_OVER_INPUT = ("Reduce", "GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "Arg")


def flops(
    op: str, inputs: Sequence[Shape | None], outputs: Sequence[Shape | None], equation: str = ""
) -> int:
    """Operations of one node of type ``op``.

    Args:
        op: the operator's type, ai.onnx's or ONNX Runtime's own.
        inputs: shapes; None where one is absent or unknown.  Weights that the runtime packed away
            may be missing at the end.
        outputs: shapes; None where unknown.
        equation: of Einsum.
    """
    first = inputs[0] if inputs else None
    out = outputs[0] if outputs else None
    if op in _MOVES or first is None or out is None:
        return 0
    if op in _PRODUCTS:
        rows = max(prod(out[:-1]), 1) if op in ("Gemm", "FusedGemm", "QGemm") else 0
        depth = prod(first) // rows if rows else (first[-1] if first else 1)
        return 2 * prod(out) * depth
    if op in _CONVOLUTIONS or op == "ConvTranspose":
        return _convolution(op, inputs, out)
    if op in _RECURRENT:
        weights = sum(prod(shape) for shape in inputs[1:3] if shape)
        return 2 * prod(first[:2]) * weights
    if op in _ATTENTION:
        return _attention(op, inputs)
    if op == "Einsum" and equation:
        return _einsum(equation, inputs)
    size = prod(first) if op.startswith(_OVER_INPUT) else prod(out)
    return _EACH.get(op.removeprefix("QLinear"), 1) * size


def _convolution(op: str, inputs: Sequence[Shape | None], out: Shape) -> int:
    place = _CONVOLUTIONS.get(op, 1)
    weight = inputs[place] if len(inputs) > place else None
    if not weight:
        return 2 * prod(out)  # packed away: no more than the elements is known
    elements = inputs[0] if op == "ConvTranspose" else out
    return 2 * prod(elements or ()) * prod(weight[1:])


def _attention(op: str, inputs: Sequence[Shape | None]) -> int:
    query = inputs[0] or ()
    key = inputs[1] if len(inputs) > 1 else None
    if op == "Attention" and key is not None and len(key) == 2 and len(query) == 3:
        batch, length, _ = query  # com.microsoft: one packed projection of all three
        return 2 * batch * length * prod(key) + 4 * batch * length * length * (key[1] // 3)
    if not query or not key or len(key) < 2:
        return 0
    past = inputs[4] if op == "Attention" and len(inputs) > 4 else None
    length = key[-2] + (past[-2] if past and len(past) > 1 else 0)
    return 4 * prod(query) * length


def _einsum(equation: str, inputs: Sequence[Shape | None]) -> int:
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, inputs, strict=False):
        if shape is None or "." in term or len(term) != len(shape):
            return 0
        lengths |= dict(zip(term, shape, strict=True))
    return 2 * prod(lengths.values())
