"""Write the MatMul of a matrix, with its bias, as Gemm.

Why: one node less; ONNX Runtime makes the same choice when it opens the model.
Equal: up to float rounding.
"""

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"
OPSET = 7
ORDER = 10  # what larger patterns leave


def before(x: Expr, w: Expr, b: Expr) -> Expr:
    return op.MatMul(x, w) + b


def when(x: Capture, w: Capture, b: Capture) -> str | None:
    if x.shape is None or len(x.shape) != 2:
        return "its input is not known to be a matrix"
    if not w.is_constant or w.shape is None or len(w.shape) != 2:
        return "its weight is not a constant matrix"
    if not b.is_constant or b.shape is None or list(b.shape) != [w.shape[1]]:
        return "its bias is not a constant vector"
    return None


def after(x: Capture, w: Capture, b: Capture) -> Expr:
    return op.Gemm(x, w, b)
