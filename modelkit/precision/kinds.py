"""Families of operators that the rules speak of."""

MOVEMENT = frozenset(
    ("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
     "Identity", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
     "Trilu", "Unsqueeze", "Where")
)  # fmt: skip
"""Values are moved or picked, never computed."""

ELEMENTWISE = frozenset(
    ("Abs", "Add", "Cast", "Ceil", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
     "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mod", "Mul", "Neg",
     "Pow", "PRelu", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Sqrt",
     "Sub", "Sum", "Tan", "Tanh")
)  # fmt: skip

LIGHT = MOVEMENT | ELEMENTWISE
"""Operators whose time is that of reading and writing their tensors."""

SUMS = frozenset(
    ("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceProd",
     "CumSum")
)  # fmt: skip
SOFTMAX = frozenset(("Softmax", "LogSoftmax"))
INTEGERS = frozenset(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"))
