"""Subjects of activations, between the convolutions that come before and after them."""

from modelkit.tune.subjects import HEAD, IMAGES, Subject


def _block(activation: str, weights: str = "") -> str:
    """A convolution from ``x`` to ``c``, ``activation`` from ``c`` to ``h``, another one."""
    return f"""{HEAD} (float[b, 64, 28, 28] x) => (float[b, 64, 28, 28] y)
    <float[128, 64, 1, 1] w0, float[128] b0, float[64, 128, 1, 1] w1, float[64] b1{weights}> {{
    c = Conv(x, w0, b0) {activation} y = Conv(h, w1, b1) }}"""


_HARD = """three = Constant<value_float=3.0>() six = Constant<value_float=6.0>()
    zero = Constant<value_float=0.0>() a = Add(c, three) k = Clip(a, zero, six)"""

ACTIVATIONS: tuple[Subject, ...] = (
    Subject("elu", _block("h = Elu(c)"), IMAGES),
    Subject("hard_sigmoid", _block(f"{_HARD} h = Div(k, six)"), IMAGES),
    Subject("hard_swish", _block(f"{_HARD} m = Mul(c, k) h = Div(m, six)"), IMAGES),
    Subject("mish", _block("s = Softplus(c) t = Tanh(s) h = Mul(c, t)"), IMAGES),
    Subject("power", _block("e = Constant<value_float=2.0>() h = Pow(c, e)"), IMAGES),
    Subject("prelu", _block("h = PRelu(c, s)", ", float[128, 1, 1] s"), IMAGES),
    Subject("softplus", _block("h = Softplus(c)"), IMAGES),
)
