"""The 43 graphs on which ONNX Runtime's quantizers crash, skip in silence or compute wrong values.

Each has the number of layers that ``--dynamic`` and ``--static`` must quantize, or a part of the
reason that must be given.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx

from tests.harness import floats
from tests.models import Feeds, parsed

W, B = "float[64, 64] w", "float[64] b"
ROWS = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, m] y)'
STACK = '<ir_version: 8, opset_import: ["": 17]> g (float[b, s, 64] x) => (float[b, s, m] y)'
IMAGE = '<ir_version: 8, opset_import: ["": 17]> g (float[b, 3, 16, 16] x) => (float[b, c, h, v] y)'
TIME = '<ir_version: 8, opset_import: ["": 17]> g (float[t, b, 32] x) => (float[t, d, b, 16] y)'
CW = "float[8, 3, 3, 3] w"
CONV = "5-8x slower"
OUTPUT = "model output"
# A convolution that makes an output stays exact; so the static expectation has one behind it.
TAIL = " p = GlobalAveragePool(c) f = Flatten(p) q = MatMul(f, v)"


@dataclass(frozen=True)
class Pattern:
    """``dynamic`` and ``static``: layers quantized, or words of a reason or refusal."""

    head: str
    weights: str
    body: str
    dynamic: int | str
    static: int | str
    shape: tuple[int, ...] = (4, 64)
    ragged: int = -1
    least: float = 28.0
    kinds: tuple[str, ...] = field(default=())

    def model(self) -> onnx.ModelProto:
        """The graph, with random weights."""
        text = f"{self.head} <{self.weights}> {{ {self.body} }}" if self.body else self.head
        model = parsed(text)
        for tensor in model.graph.initializer:
            if len(tensor.dims) > 1 and tensor.data_type == 1 and "calm" in self.kinds:
                array = onnx.numpy_helper.to_array(tensor) * np.float32(0.2)
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        return model

    def samples(self, count: int = 8) -> list[Feeds]:
        """Inputs; with ``ragged`` an axis whose length differs in each."""
        made = []
        for seed in range(count):
            shape = tuple(n + seed * (axis == self.ragged) for axis, n in enumerate(self.shape))
            x = floats(*shape, seed=seed)
            if "ids" in self.kinds:
                x = np.random.default_rng(seed).integers(0, 400, shape)
            elif "half" in self.kinds:
                x = x.astype(np.float16)
            elif "double" in self.kinds:
                x = x.astype(np.float64)
            made.append({"x": x})
        return made


def _rows(body: str, count: int = 1, weights: str = W, **more: object) -> Pattern:
    return Pattern(ROWS, weights, body, count, count, **more)  # type: ignore[arg-type]


def _stack(body: str, count: int = 1, weights: str = W, **more: object) -> Pattern:
    options = {"shape": (2, 5, 64), "ragged": 1, **more}
    return Pattern(STACK, weights, body, count, count, **options)  # type: ignore[arg-type]


def _image(body: str, dynamic: int | str, static: int | str, weights: str = CW) -> Pattern:
    return Pattern(IMAGE, weights, body, dynamic, static, shape=(2, 3, 16, 16))


def _opset(pattern: Pattern, opset: int, version: int) -> Pattern:
    head = pattern.head.replace(": 17", f": {opset}").replace("version: 8", f"version: {version}")
    return Pattern(
        head, pattern.weights, pattern.body, pattern.dynamic, pattern.static, pattern.shape,
        pattern.ragged,
    )  # fmt: skip


_PLAIN = _stack("y = MatMul(x, w)")
_IF = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, 64] y)
    <float[64, 64] w, float[64, 64] v, float z = {0}> {
    s = ReduceSum<keepdims=0>(x) c = Greater(s, z)
    y = If (c) <then_branch = t () => (float[n, 64] p) { p = MatMul(x, w) },
                else_branch = e () => (float[n, 64] q) { q = MatMul(x, v) }> }"""
_LOOP = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, 64] y)
    <float[64, 64] w, int64 n_times = {3}, bool go = {1}> {
    y = Loop (n_times, go, x) <body = b (int64 i, bool ci, float[n, 64] hi)
        => (bool co, float[n, 64] ho) { m = MatMul(hi, w) ho = Tanh(m) co = Identity(ci) }> }"""
_FUNCTION = """<ir_version: 8, opset_import: ["": 17, "loc": 1]>
    g (float[b, s, 64] x) => (float[b, s, 64] y) <float[64, 64] w> { y = loc.linear(x, w) }
    <domain: "loc", opset_import: ["": 17]> linear (a, c) => (o) { o = MatMul(a, c) }"""
_TIED = """<ir_version: 8, opset_import: ["": 17]> g (int64[b, s] x) => (float[b, s, m] y)"""
_LSTM = "float[{d}, 64, 32] w, float[{d}, 64, 16] r, float[{d}, 128] b"

MERGED = """<ir_version: 8, opset_import: ["": 17]>
g (bool c, int64[n] i) => (float[n, 96] y) <float[1200, 64] t, float[64, 96] w, float[96, 96] v>
{ y = If (c) <then_branch = t () => (float[n, 96] p)
  { a = Gather(t, i) b = MatMul(a, w) d = Relu(b) p = Gemm<transB=1>(d, v) },
  else_branch = f () => (float[n, 96] q)
  { e = Gather(t, i) h = MatMul(e, w) j = Tanh(h) q = Gemm<transB=1>(j, v) }> }"""
"""Two branches with the same weights, as decoders with and without a past have."""

PATTERNS: dict[str, Pattern] = {
    "matmul plain": _stack("t = MatMul(x, w) y = Add(t, b)", weights=f"{W}, {B}"),
    "behind transpose": _stack("t = Transpose<perm=[1,0]>(w) y = MatMul(x, t)"),
    "behind identity": _stack("t = Identity(w) y = MatMul(x, t)"),
    "weight of a node": _stack(
        "s = Constant<value_ints=[64, 64]>() k = Constant<value_float=0.5>() e = Expand(k, s)"
        " t = Mul(e, w) y = MatMul(x, t)",
    ),
    "weight on the left": Pattern(
        ROWS.replace("[n, 64] x", "[64, k] x"), W, "y = MatMul(w, x)", 1, 1, shape=(64, 4)
    ),
    "stack of weights": Pattern(
        STACK.replace("[b, s, 64] x", "[2, s, 64] x"), "float[2, 64, 64] w", "y = MatMul(x, w)", 1,
        "stack of matrices", shape=(2, 4, 64), ragged=1,
    ),
    "einsum": _stack('y = Einsum<equation="bsd,de->bse">(x, w)'),
    "gemm turned": _rows("y = Gemm<transB=1>(x, w, b)", weights=f"{W}, {B}"),
    "gemm turned, stale shapes": _rows(
        "t = Gemm<transB=1>(x, w, b) u = Relu(t) y = Gemm<transB=1>(u, v, c)", 2,
        "float[128, 64] w, float[128] b, float[32, 128] v, float[32] c",
    ),
    "gemm alpha beta": _rows("y = Gemm<alpha=0.5, beta=2.0>(x, w, b)", weights=f"{W}, {B}"),
    "gemm no bias": _rows("y = Gemm(x, w)"),
    "gemm scalar": _rows("y = Gemm(x, w, b)", weights=f"{W}, float[1] b"),
    "shared weight": _stack("a = MatMul(x, w) r = Relu(a) y = MatMul(r, w)", 2),
    "tied embedding": Pattern(
        _TIED, "float[400, 64] e",
        "g1 = Gather(e, x) t = Transpose<perm=[1,0]>(e) y = MatMul(g1, t)", 2, 2,
        shape=(2, 5), kinds=("ids",),
    ),
    "conv no bias": _image("c = Conv<pads=[1,1,1,1]>(x, w) y = Relu(c)", CONV, OUTPUT),
    "conv, huge bias": _image(
        "k = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(k) y = Conv(r, v)", CONV, 1,
        f"{CW}, float[8] b, float[4, 8, 1, 1] v",
    ),
    "conv 1d": Pattern(
        IMAGE.replace("3, 16, 16] x", "3, l] x").replace("c, h, v] y", "c, h] y"),
        "float[8, 3, 9] w, float[8] b, float[4, 8, 1] v", "k = Conv(x, w, b) y = Conv(k, v)",
        CONV, 1, shape=(2, 3, 16), ragged=2,
    ),
    "conv 3d": Pattern(
        IMAGE.replace("3, 16, 16] x", "3, 8, 8, 8] x").replace("c, h, v] y", "c, h, v, z] y"),
        "float[8, 3, 3, 3, 3] w, float[8] b, float[4, 8, 1, 1, 1] v",
        "k = Conv(x, w, b) y = Conv(k, v)", CONV, 1, shape=(1, 3, 8, 8, 8),
    ),
    "transposed conv": _image(
        "y = ConvTranspose<strides=[2,2]>(x, w, b)", "no integer kernel", "no integer kernel",
        "float[3, 8, 3, 3] w, float[8] b",
    ),
    "transposed conv in groups": _image(
        "y = ConvTranspose<strides=[2,2], group=3>(x, w, b)", "no integer kernel",
        "no integer kernel", "float[3, 4, 3, 3] w, float[12] b",
    ),
    "conv, normalization": _image(
        "a = Abs(q) k = Conv<pads=[1,1,1,1]>(x, w) e = BatchNormalization(k, s, b, m, a)"
        " y = Conv(e, v)", CONV, 1,
        f"{CW}, float[8] s, float[8] b, float[8] m, float[8] q, float[4, 8, 1, 1] v",
    ),
    "silu, hard swish": _image(
        "c = Conv<pads=[1,1,1,1]>(x, w) s = Sigmoid(c) m = Mul(c, s) y = HardSwish(m)", CONV, 1
    ),
    "opset 11": _opset(
        _image("c = Conv<pads=[1,1,1,1]>(x, w) r = Relu(c) y = Conv(r, v)", CONV, 1,
               f"{CW}, float[4, 8, 1, 1] v"), 11, 6,
    ),
    "opset 9": _opset(_PLAIN, 9, 4),
    "opset 21": _opset(_PLAIN, 21, 10),
    "opset 24": _opset(_PLAIN, 24, 11),
    "weight that is an input": Pattern(
        STACK.replace("64] x)", "64] x, float[64, 64] w)"), "float[64, 64] w", "y = MatMul(x, w)",
        "an input", "an input", shape=(2, 5, 64), kinds=("default",),
    ),
    "no names": _stack(
        "t = MatMul(x, w) u = Add(t, b) r = Relu(u) y = MatMul(r, v)", 2, f"{W}, {B}, float[64, 64] v"
    ),
    "one name for all": Pattern(
        STACK, f"{W}, {B}, float[64, 64] v",
        "[a] t = MatMul(x, w) [a] u = Add(t, b) [a] y = MatMul(u, v)", 2, 2, shape=(2, 5, 64),
    ),
    "if": Pattern(_IF, "", "", 2, 2),
    "loop": Pattern(_LOOP, "", "", 1, 1, kinds=("calm",)),
    "lstm": Pattern(
        TIME, _LSTM.format(d=1), "y = LSTM<hidden_size=16>(x, w, r, b)", 1, 1,
        shape=(6, 2, 32), kinds=("calm",),
    ),
    "lstm, both ways": Pattern(
        TIME, _LSTM.format(d=2),
        'y = LSTM<hidden_size=16, direction="bidirectional">(x, w, r, b)', 1, 1,
        shape=(6, 2, 32), kinds=("calm",),
    ),
    "gru": Pattern(
        TIME, "float[1, 48, 32] w, float[1, 48, 16] r, float[1, 96] b",
        "y = GRU<hidden_size=16, linear_before_reset=1>(x, w, r, b)", 1, 1,
        shape=(6, 2, 32), kinds=("calm",),
    ),
    "half": Pattern(
        STACK.replace("float[", "float16["), W,
        "c = Cast<to=10>(w) t = MatMul(x, c) y = Relu(t)", 1, 1, shape=(2, 5, 64),
        kinds=("half",),
    ),
    "double": Pattern(
        STACK.replace("float[", "double["), W, "c = Cast<to=11>(w) y = MatMul(x, c)", 1, 1,
        shape=(2, 5, 64), kinds=("double",),
    ),
    "function": Pattern(_FUNCTION, "", "", 1, 1, shape=(2, 5, 64)),
    "activation of zeros": _stack(
        "t = MatMul(x, w) u = Mul(t, z) y = MatMul(u, v)", 2, f"{W}, float[64, 64] v, float z = {{0}}",
        least=-1.0,
    ),
    "not finite": Pattern(STACK, W, "l = Log(x) y = MatMul(l, w)", 1, "NaN", shape=(2, 5, 64)),
    "saturating mask": _stack(
        "t = MatMul(x, w) l = Constant<value_float=-3.4e38>() o = Constant<value_float=0.0>()"
        " h = Constant<value_float=1.0>() g = Greater(q, h) k = Where(g, l, o) u = Add(t, k)"
        " p = Softmax<axis=-1>(u) y = MatMul(p, v)", 2, f"{W}, float[64, 64] v, float[64] q",
        kinds=("calm",), least=24.0,
    ),
    "quantized already": Pattern(
        STACK, f"{W}, float s = {{0.03}}, uint8 z = {{128}}",
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = MatMul(d, w)",
        "already", "already", shape=(2, 5, 64),
    ),
    "output that is read on": Pattern(
        STACK.replace("=> (", "=> (float[b, s, 64] a, "), W, "a = MatMul(x, w) y = Relu(a)", 1, 1,
        shape=(2, 5, 64),
    ),
    "weights in another file": Pattern(
        STACK, W, "y = MatMul(x, w)", 1, 1, shape=(2, 5, 64), kinds=("external",)
    ),
}  # fmt: skip
