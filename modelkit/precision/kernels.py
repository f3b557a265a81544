"""Which operators ONNX Runtime's CUDA provider computes in float but not in half.

An operator without a half kernel is refused there when the session opens (bfloat16), or is moved
to the CPU with copies before and behind it (float16).

Source: the table of kernels that ONNX Runtime generates from its sources (docs/OperatorKernels.md,
section CUDAExecutionProvider); not measured on a card.  TensorRT has its own kernels for all.
"""

import onnx_ir as ir

TARGETS = ("cuda", "tensorrt", "cpu", "any")

_NOWHERE = frozenset(
    ("Acos", "Acosh", "AffineGrid", "Asin", "Asinh", "Atan", "Atanh", "Bernoulli", "Celu",
     "CenterCropPad", "Col2Im", "Cosh", "DFT", "DeformConv", "Det", "GlobalLpPool",
     "GroupNormalization", "Hardmax", "LpNormalization", "LpPool", "MaxRoiPool", "MaxUnpool",
     "Mean", "MeanVarianceNormalization", "Mish", "Multinomial", "NegativeLogLikelihoodLoss",
     "STFT", "Sinh", "SoftmaxCrossEntropyLoss", "Tan")
)  # fmt: skip
"""Standard operators without any CUDA kernel that are no functions of others: the CPU runs them."""

_FLOAT_ONLY = frozenset(
    ("EyeLike", "GridSample", "NonMaxSuppression", "Range", "RoiAlign", "Bernoulli", "Hardmax",
     "STFT", "DFT")
)  # fmt: skip
_NO_BFLOAT16 = _NOWHERE - {"GroupNormalization", "Mean", "Mish", "Celu"} | frozenset(
    ("Abs", "ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Ceil", "Clip",
     "ConvTranspose", "Cos", "CumSum", "DepthToSpace", "Einsum", "Elu", "Equal", "Floor", "GRU",
     "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "InstanceNormalization",
     "LRN", "LSTM", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "MaxPool", "NonZero",
     "OneHot", "PRelu", "Pad", "RNN", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
     "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare", "Resize", "Round",
     "Selu", "Shrink", "Sin", "Softplus", "Softsign", "SpaceToDepth", "ThresholdedRelu", "TopK",
     "Upsample")
)  # fmt: skip
_SINCE = {
    ir.DataType.FLOAT16: {"IsInf": 20},
    ir.DataType.BFLOAT16: {
        "IsInf": 20,
        "Conv": 22,
        "HardSigmoid": 22,
        "HardSwish": 22,
        "Where": 16,
    },
}
"""Operators whose kernel takes half from this opset on."""


def without_kernel(kind: str, half: ir.DataType, opset: int, target: str) -> str:
    """Why ``kind`` of the ONNX domain must stay in float on ``target``; "" if it need not."""
    if target == "tensorrt":
        return ""
    lacking = _NO_BFLOAT16 if half is ir.DataType.BFLOAT16 else _FLOAT_ONLY | _NOWHERE
    since = _SINCE[half].get(kind, 0)
    if kind in _NOWHERE:
        return "no CUDA kernel at all: the CPU computes it, in float" if kind in lacking else ""
    name = half.name.lower()
    if kind in lacking:
        return f"the CUDA provider has no {name} kernel for it"
    return f"the CUDA provider has its {name} kernel from opset {since} on" if opset < since else ""
