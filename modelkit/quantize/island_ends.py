"""Turn a 1x1 convolution whose pixels become rows back into a linear layer of these rows.

Why: as for ``islands``; what ``linear_beside_conv`` makes has a convolution in front, not rows.
Equal: up to float rounding.
"""

from modelkit.quantize.islands import is_layer, layer
from modelkit.rewrite import Capture, Expr, convolution, op

_LAST = [0, 2, 3, 1]


def before(x: Expr, w: Expr, b: Expr, sizes: Expr) -> Expr:
    return op.Reshape(op.Transpose(convolution(x, w, b), perm=_LAST), sizes).named("rows")


def when(x: Capture, w: Capture, conv: Capture, rows: Capture) -> str | None:
    if x.node is not None and x.node.op_type == "Transpose":
        return ""  # it is another island
    if rows.shape is None or len(rows.shape) != 3 or w.shape is None:
        return ""
    return is_layer(w, conv) if rows.shape[2] == w.shape[0] else ""


def after(x: Capture, w: Capture, b: Capture, sizes: Capture) -> Expr:
    return op.Reshape(layer(op.Transpose(x, perm=_LAST), w, b), sizes)
