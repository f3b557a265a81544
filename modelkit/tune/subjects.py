"""Small models on which fusions are timed: what exporters write, at the sizes of real models."""

from dataclasses import dataclass

HEAD = '<ir_version: 11, opset_import: ["": 23, "com.microsoft": 1]> g'
TOKENS = tuple({"b": b, "s": s} for b, s in ((1, 1), (1, 16), (1, 128), (8, 128)))
CACHES = tuple({"b": b, "s": s, "p": p} for b, s, p in ((1, 1, 127), (4, 1, 511), (1, 128, 0)))
IMAGES = tuple({"b": b} for b in (1, 8))
MATRICES = tuple({"b": b} for b in (1, 4, 16, 64))


@dataclass(frozen=True)
class Subject:
    """A model with the pattern of ``fusion``, and the lengths of axes it is timed at.

    ``text`` is in ONNX's textual syntax; floats declared in its ``<>`` that no operator makes are
    random weights.  ``base`` are fusions applied to both sides first, because ``fusion`` looks for
    what they make; ``also`` go with it, after it.  ``against`` are those that would take its place,
    applied to the side without it.
    """

    fusion: str
    text: str
    points: tuple[dict[str, int], ...] = TOKENS
    base: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    name: str = ""


def _rows(body: str, weights: str = "", width: int = 384, out: int = 384) -> str:
    return f"""{HEAD} (float[b, s, {width}] x) => (float[b, s, {out}] y) <{weights}> {{ {body} }}"""


def _norm(parts: str) -> str:
    return _rows(f"axes = Constant<value_ints=[-1]>() {parts}", "float[384] w, float[384] v")


def _heads(attention: str, inputs: str = "", out: str = "") -> str:
    return f"""{HEAD} (float[b, s, 384] x{inputs}) => (float[b, s, 384] y{out})
    <float[384, 384] wq, float[384, 384] wk, float[384, 384] wv> {{
    split = Constant<value_ints=[0, 0, 12, 32]>() join = Constant<value_ints=[0, 0, 384]>()
    q3 = MatMul(x, wq) q1 = Reshape(q3, split) q = Transpose<perm=[0,2,1,3]>(q1)
    k3 = MatMul(x, wk) k1 = Reshape(k3, split) k = Transpose<perm=[0,2,1,3]>(k1)
    v3 = MatMul(x, wv) v1 = Reshape(v3, split) v = Transpose<perm=[0,2,1,3]>(v1)
    {attention} t = Transpose<perm=[0,2,1,3]>(a) y = Reshape(t, join) }}"""


def _matrix(into: int, inner: int, out: int) -> str:
    return f"""{HEAD} (float[b, {into}] x) => (float[b, {out}] y)
    <float[{inner}, {into}] w, float[{inner}] v, float[{out}, {inner}] u, float[{out}] z> {{
    h = Gemm<transB=1>(x, w, v) r = Relu(h) y = Gemm<transB=1>(r, u, z) }}"""


_SCORES = """kt = Transpose<perm=[0,1,3,2]>(k) f = Constant<value_float=0.4204482>()
    low = Constant<value_float=-3.4028234e38>() z = Constant<value_float=0.0>()
    m = Where(hidden, low, z)
    qs = Mul(q, f) ks = Mul(kt, f) d = MatMul(qs, ks) e = Add(d, m) p = Softmax<axis=-1>(e)
    n = IsNaN(p) w = Where(n, z, p) a = MatMul(w, v)"""
_MASK = ", bool[b, 1, s, s] hidden"
_REPLACED = """kt = Transpose<perm=[0,1,3,2]>(k) low = Constant<value_float=-3.4028234e38>()
    d = MatMul(q, kt) e = Where(hidden, low, d) p = Softmax<axis=-1>(e) a = MatMul(p, v)"""
_SCALED = """kt = Transpose<perm=[0,1,3,2]>(k) f = Constant<value_float=5.6568542>()
    low = Constant<value_float=-3.4028234e38>() z = Constant<value_float=0.0>()
    m = Where(hidden, low, z) d = MatMul(q, kt) e = Add(d, m) g = Div(e, f)
    p = Softmax<axis=-1>(g) a = MatMul(p, v)"""

_CACHED = f"""{HEAD} (float[b, 12, s, 64] q, float[b, 12, s, 64] k, float[b, 12, s, 64] v,
    float[b, 12, p, 64] pk, float[b, 12, p, 64] pv)
    => (float[b, 12, s, 64] y, float[b, 12, t, 64] kk, float[b, 12, t, 64] vv) {{
    kk = Concat<axis=2>(pk, k) vv = Concat<axis=2>(pv, v) y = Attention(q, kk, vv) }}"""

_MASKED = f"""{HEAD} (float[b, s, 384] q, float[b, s, 384] k, float[b, s, 384] v,
    bool[b, 1, 1, s] seen) => (float[b, s, 384] y) {{
    zero = Constant<value_float=0.0>() low = Constant<value_float=-3.4028234e38>()
    bound = Constant<value_float=-1e9>() one = Constant<value_ints=[1]>()
    n = Shape<start=1, end=2>(q) t = Concat<axis=0>(one, one, n, one) e = Expand(seen, t)
    w = Where(e, zero, low) m = Max(w, bound)
    y = Attention<q_num_heads=12, kv_num_heads=12>(q, k, v, m) }}"""

_BLENDED = f"""{HEAD} (float[b, 12, s, s] x, bool[b, 1, 1, s] m) => (float[b, 12, s, s] y) {{
    low = Constant<value_float=-2.3726710e38>() c = Cast<to=1>(m) k = Mul(c, x) n = Not(m)
    f = Cast<to=1>(n) l = Mul(low, f) a = Add(k, l) y = Softmax<axis=-1>(a) }}"""

_GROUPED = f"""{HEAD} (float[b, 12, s, 64] q, float[b, 4, s, 64] k, float[b, 4, s, 64] v)
    => (float[b, 12, s, 64] y) {{
    two = Constant<value_ints=[2]>() wide = Constant<value_ints=[1, 1, 3, 1, 1]>()
    whole = Constant<value_ints=[0, 12, -1, 64]>()
    ku = Unsqueeze(k, two) ke = Expand(ku, wide) kk = Reshape(ke, whole)
    vu = Unsqueeze(v, two) ve = Expand(vu, wide) vv = Reshape(ve, whole)
    y = Attention(q, kk, vv) }}"""

_ROTARY = """zero = Constant<value_ints=[0]>() half = Constant<value_ints=[32]>()
    end = Constant<value_ints=[9223372036854775807]>() last = Constant<value_ints=[3]>()
    one = Constant<value_ints=[1]>() aa = Concat<axis=-1>(f, f) c = Cos(aa) s1 = Sin(aa)
    cu = Unsqueeze(c, one) su = Unsqueeze(s1, one)
    low = Slice(h, zero, half, last, one) high = Slice(h, half, end, last, one)
    n = Neg(high) j = Concat<axis=-1>(n, low) m1 = Mul(h, cu) m2 = Mul(j, su)"""

_NEIGHBOURS = f"""{HEAD} (float[b, 12, s, 64] h, float[1, s, 32] f) => (float[b, 12, s, 64] y) {{
    zero = Constant<value_ints=[0]>() one = Constant<value_ints=[1]>()
    two = Constant<value_ints=[2]>() last = Constant<value_ints=[-1]>()
    end = Constant<value_ints=[9223372036854775807]>() twice = Constant<value_ints=[1, 1, 1, 2]>()
    angles = Constant<value_ints=[1, -1, 64]>() whole = Constant<value_ints=[0, 12, -1, 64]>()
    fu = Unsqueeze(f, last) fe = Expand(fu, twice) aa = Reshape(fe, angles)
    c = Cos(aa) s1 = Sin(aa) cu = Unsqueeze(c, one) su = Unsqueeze(s1, one)
    even = Slice(h, zero, end, last, two) odd = Slice(h, one, end, last, two)
    n = Neg(odd) nu = Unsqueeze(n, last) eu = Unsqueeze(even, last)
    p = Concat<axis=-1>(nu, eu) j = Reshape(p, whole) m1 = Mul(h, cu) m2 = Mul(j, su)
    y = Add(m1, m2) }}"""

_SQUEEZE = f"""{HEAD} (float[b, 96, 28, 28] x) => (float[b, 48, 28, 28] y)
    <float[96, 96, 1, 1] w0, float[96] b0, float[6, 96, 1, 1] w1, float[6] b1,
     float[96, 6, 1, 1] w2, float[96] b2, float[48, 96, 1, 1] w3, float[48] b3> {{
    c0 = Conv(x, w0, b0) s0 = Sigmoid(c0) h = Mul(c0, s0)
    axes = Constant<value_ints=[2, 3]>() m = ReduceMean(h, axes) a = Conv(m, w1, b1)
    s1 = Sigmoid(a) z = Mul(a, s1) e = Conv(z, w2, b2) g1 = Sigmoid(e) r = Mul(h, g1)
    y = Conv(r, w3, b3) }}"""

_SPLIT = f"""{HEAD} (float[b, 64, 40, 40] x) => (float[b, 64, 40, 40] y)
    <float[64, 64, 1, 1] w0, float[64] b0, float[32, 32, 3, 3] w1, float[32] b1,
     float[64, 64, 1, 1] w2, float[64] b2> {{
    c0 = Conv(x, w0, b0) s0 = Sigmoid(c0) h = Mul(c0, s0)
    p, q = Split<axis=1, num_outputs=2>(h) d = Conv<pads=[1,1,1,1]>(q, w1, b1)
    o = Concat<axis=1>(p, d) y = Conv(o, w2, b2) }}"""

_BOXES = f"""{HEAD} (float[b, 64, 2100] x) => (float[b, 4, 2100] y) <float[1, 16, 1, 1] bins> {{
    shape = Constant<value_ints=[0, 4, 16, 2100]>() r = Reshape(x, shape)
    t = Transpose<perm=[0,2,1,3]>(r) p = Softmax<axis=1>(t) m = Mul(p, bins)
    axes = Constant<value_ints=[1]>() y = ReduceSum<keepdims=0>(m, axes) }}"""

_ERF = """r = Constant<value_float=1.4142135>() i = Constant<value_float=1.0>()
    h = Constant<value_float=0.5>() d = Div(x, r) e = Erf(d) a = Add(e, i) m = Mul(a, h)
    y = Mul(x, m)"""
_TANH = """t = Constant<value_float=3.0>() k = Constant<value_float=0.044715>()
    c = Constant<value_float=0.7978846>() i = Constant<value_float=1.0>()
    h = Constant<value_float=0.5>() p = Pow(x, t) q = Mul(p, k) a = Add(x, q) m = Mul(a, c)
    n = Tanh(m) o = Add(n, i) z = Mul(x, h) y = Mul(z, o)"""


_QUICK = "f = Constant<value_float=1.702>() a = Mul(q, f) s = Sigmoid(a) h = Mul(q, s)"


def _mlp(width: int, activation: str = "h = Gelu(q)") -> str:
    return _rows(
        f"p = MatMul(x, w1) q = Add(p, b1) {activation} r = MatMul(h, w2) y = Add(r, b2)",
        f"float[{width}, {4 * width}] w1, float[{4 * width}] b1, float[{4 * width}, {width}] w2,"
        f" float[{width}] b2",
        width,
        width,
    )


def _encoder(width: int, layers: int = 3) -> str:
    """The linear layers of an encoder, each with weights of its own: in a model they are cold."""
    wide, body, weights = 4 * width, "x0 = Identity(x)", []
    for n in range(layers):
        for name, rows, columns in (
            *((part, width, width) for part in "qkvo"),
            ("u", width, wide),
            ("d", wide, width),
        ):
            weights += [f"float[{rows}, {columns}] w{name}{n}", f"float[{columns}] b{name}{n}"]
        weights += [f"float[{width}] g{n}", f"float[{width}] h{n}"]
        body += f"""
        e{n} = LayerNormalization<axis=-1>(x{n}, g{n}, h{n})
        pq{n} = MatMul(e{n}, wq{n}) q{n} = Add(pq{n}, bq{n})
        pk{n} = MatMul(e{n}, wk{n}) k{n} = Add(pk{n}, bk{n})
        pv{n} = MatMul(e{n}, wv{n}) v{n} = Add(pv{n}, bv{n})
        j{n} = Mul(q{n}, k{n}) a{n} = Sub(j{n}, v{n}) po{n} = MatMul(a{n}, wo{n})
        o{n} = Add(po{n}, bo{n}) r{n} = Add(o{n}, x{n})
        f{n} = LayerNormalization<axis=-1>(r{n}, g{n}, h{n})
        pu{n} = MatMul(f{n}, wu{n}) u{n} = Add(pu{n}, bu{n}) z{n} = Gelu(u{n})
        pd{n} = MatMul(z{n}, wd{n}) d{n} = Add(pd{n}, bd{n}) x{n + 1} = Add(d{n}, r{n})"""
    return _rows(f"{body} y = Identity(x{layers})", ", ".join(weights), width, width)


def _pooled(width: int) -> str:
    """The end of EfficientNet: its window is as wide as its channels are many."""
    whole = f"kernel_shape=[{width}, {width}], strides=[{width}, {width}], ceil_mode=1"
    return f"""{HEAD} (float[b, 16, 7, 7] x) => (float[b, {width}, 1, 1] y)
    <float[{width}, 16, 1, 1] w> {{
    c = Conv(x, w) r = Relu(c) y = AveragePool<{whole}>(r) }}"""


def _block(rows: int, width: int) -> str:
    """The feed-forward part of a block over an image, its residual around it."""
    wide = 4 * width
    return f"""{HEAD} (float[b, {rows}, {width}] x) => (float[b, {rows}, {width}] y)
    <float[{width}] g, float[{width}, {wide}] w1, float[{wide}] b1, float[{wide}, {width}] w2,
     float[{width}] b2> {{
    n = LayerNormalization<axis=-1>(x, g) p = MatMul(n, w1) q = Add(p, b1) h = Gelu(q)
    r = MatMul(h, w2) d = Add(r, b2) y = Add(d, x) }}"""


STANDARD: tuple[Subject, ...] = (
    Subject("activation_as_image", _mlp(384), base=("linear_as_conv",)),
    Subject("attention", _heads(_SCORES, _MASK)),
    Subject("attention_groups", _GROUPED),
    Subject("attention_heads", _heads("a = Attention(q, k, v)")),
    Subject("attention_past", _CACHED, CACHES),
    Subject("bias_gelu", _rows("a = Add(x, w) y = Gelu(a)", "float[1536] w", 1536, 1536)),
    Subject("conv_split", _SPLIT, IMAGES),
    Subject("expand_later", _MASKED),
    Subject("gelu_erf", _rows(_ERF, width=1536, out=1536)),
    Subject("gelu_tanh", _rows(_TANH, width=1536, out=1536)),
    Subject(
        "layer_normalization",
        _norm(
            "two = Constant<value_float=2.0>() e = Constant<value_float=0.00001>()"
            " m = ReduceMean(x, axes) d = Sub(x, m) p = Pow(d, two) r = ReduceMean(p, axes)"
            " a = Add(r, e) q = Sqrt(a) n = Div(d, q) z = Mul(n, w) y = Add(z, v)"
        ),
    ),
    Subject("mask_alone", _heads(_SCALED, _MASK), also=("attention",)),
    Subject("masked_scores", _BLENDED),
    Subject("masked_scores", _heads(_REPLACED, _MASK), also=("attention",), name="replaced"),
    *(
        Subject("linear_as_conv", text, also=("activation_as_image",), name=name)
        for name, text in (
            ("encoder 384", _encoder(384)),
            ("encoder 768", _encoder(768)),
            ("mlp 384", _mlp(384)),
        )
    ),
    *(
        Subject(
            "gemm_as_conv",
            _matrix(*widths),
            MATRICES,
            also=("activation_as_image",),
            name="x".join(map(str, widths)),
        )
        for widths in ((1024, 4096, 1024), (6272, 512, 16))
    ),
    *(
        Subject("global_average_pool", _pooled(width), IMAGES, name=str(width))
        for width in (64, 1280)
    ),
    *(
        Subject("mlp_as_conv", _block(rows, width), IMAGES, name=f"{rows} rows {width}")
        for rows, width in ((49, 32), (784, 32), (49, 96), (196, 96), (3136, 96), (784, 128))
    ),
    Subject(
        "quick_gelu_alpha",
        _mlp(512, _QUICK),
        base=("silu",),
        also=("silu", "linear_as_conv", "activation_as_image"),
        against=("linear_as_conv", "activation_as_image"),
    ),
    Subject("residual_as_image", _encoder(384), base=("linear_as_conv", "activation_as_image")),
    Subject(
        "residual_sum",
        f"""{HEAD} (float[b, s, 384] x, float[b, s, 384] r) => (float[b, s, 384] y)
        <float[384] c, float[384] w, float[384] v> {{
        a = Add(x, c) t = Add(a, r) y = LayerNormalization<axis=-1>(t, w, v) }}""",
    ),
    Subject(
        "rms_normalization",
        _norm(
            "two = Constant<value_float=2.0>() e = Constant<value_float=0.00001>()"
            " p = Pow(x, two) r = ReduceMean(p, axes) a = Add(r, e) q = Sqrt(a)"
            " i = Reciprocal(q) n = Mul(x, i) y = Mul(w, n)"
        ),
    ),
    Subject(
        "rotary_embedding",
        f"""{HEAD} (float[b, 12, s, 64] h, float[1, s, 32] f) => (float[b, 12, s, 64] y)
        {{ {_ROTARY} y = Add(m1, m2) }}""",
    ),
    Subject(
        "rotary_heads",
        f"""{HEAD} (float[b, s, 12, 64] x, float[b, s, 32] c, float[b, s, 32] n)
        => (float[b, s, 12, 64] y) {{ t = Transpose<perm=[0,2,1,3]>(x)
        r = RotaryEmbedding(t, c, n) y = Transpose<perm=[0,2,1,3]>(r) }}""",
    ),
    Subject("rotary_interleaved", _NEIGHBOURS),
    Subject("silu", _rows("s1 = Sigmoid(x) y = Mul(x, s1)", width=1536, out=1536)),
    Subject("softmax_expectation", _BOXES, IMAGES),
    Subject("squeeze_excite", _SQUEEZE, IMAGES, also=("gate_as_image",)),
)
