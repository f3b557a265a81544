"""Compute what stands between a normalization over channels and a convolution on its rows.

Why: the rows then go into ONNX Runtime's blocked layout in one step, as the move alone would; else
they are moved, computed on and moved again: 1.05-1.6x on such layers (MobileNetV5, Gemma 3n).
Equal: exactly the same numbers, elementwise operators do not see the layout.
"""

from modelkit.fusions.activation_as_image import computed, elementwise
from modelkit.rewrite import Capture, Expr, op

LEVEL = "all"
ORDER = 22  # behind those that take rows and activations into convolutions

_NORMALIZATIONS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")


def _image(rows: Expr, name: str) -> Expr:
    return op.Transpose(rows, perm=[0, 3, 1, 2]).named(name)


before = elementwise(_image)


def when(x: Capture, y: Capture, made: Capture) -> str | None:
    if y.value is not None or x.node is None or x.node.op_type not in _NORMALIZATIONS:
        return ""
    assert made.value is not None
    readers = [user.op_type for user, _ in made.value.uses()]
    if readers != ["Conv"]:
        return "what reads it is not one convolution"
    return None


def after(x: Capture, made: Capture) -> Expr:
    return op.Transpose(computed(made, x), perm=[0, 3, 1, 2])
