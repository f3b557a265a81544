"""Subjects of the fusions into ONNX Runtime's own operators, which pay on GPUs if anywhere."""

from modelkit.tune.subjects import HEAD, IMAGES, Subject

_NORM = "float[384] c, float[384] w, float[384] v"
_RESIDUAL = f"""{HEAD} (float[b, s, 384] x, float[b, s, 384] r) => (float[b, s, 384] y)
    <{_NORM}>"""

_EMBEDDED = f"""{HEAD} (int64[b, s] i, int64[b, s] k, int64[1, s] p) => (float[b, s, 384] y)
    <float[30522, 384] words, float[512, 384] places, float[2, 384] kinds, {_NORM}> {{
    e = Gather(words, i) f = Gather(kinds, k) g = Gather(places, p) u = Add(e, f) t = Add(u, g)
    y = LayerNormalization<axis=-1>(t, w, v) }}"""


def _projected(width: int) -> str:
    return f"""{HEAD} (float[b, s, {width}] x) => (float[b, s, {width}] y)
    <float[{width}, {width}] wq, float[{width}, {width}] wk, float[{width}, {width}] wv,
     float[{width}] bq, float[{width}] bk, float[{width}] bv> {{
    q0 = MatMul(x, wq) q = Add(q0, bq) k0 = MatMul(x, wk) k = Add(k0, bk)
    v0 = MatMul(x, wv) v = Add(v0, bv)
    y = Attention<q_num_heads=12, kv_num_heads=12>(q, k, v) }}"""


_FLAT = f"""{HEAD} (float[b, s, 384] q, float[b, s, 384] k, float[b, s, 384] v)
    => (float[b, s, 384] y) {{ y = Attention<q_num_heads=12, kv_num_heads=12>(q, k, v) }}"""


def _long(rows: int, heads: int) -> str:
    shape = f"float[b, {rows}, {64 * heads}]"
    return f"""{HEAD} ({shape} q, {shape} k, {shape} v) => ({shape} y) {{
    y = Attention<q_num_heads={heads}, kv_num_heads={heads}>(q, k, v) }}"""


CONTRIB: tuple[Subject, ...] = (
    Subject("embed_layer_normalization", _EMBEDDED),
    *(
        Subject(
            "gelu_with_bias",
            f"""{HEAD} (float[b, s, 1536] x) => (float[b, s, 1536] y) <float[1536] c>
            {{ a = Add(x, c) y = Gelu<approximate="{form}">(a) }}""",
            against=("bias_gelu",),
            name=name,
        )
        for name, form in (("erf", "none"), ("tanh", "tanh"))
    ),
    *(
        Subject("long_attention", _long(rows, heads), points, name=f"{rows} rows {heads} heads")
        for rows, heads, points in ((1024, 12, IMAGES), (1500, 6, IMAGES), (4096, 8, IMAGES[:1]))
    ),
    Subject("multi_head_attention", _FLAT),
    *(
        Subject("packed_attention", _projected(width), against=("linear_as_conv",), name=f"{width}")
        for width in (384, 768)
    ),
    Subject(
        "skip_layer_normalization",
        f"{_RESIDUAL} {{ a = Add(x, c) t = Add(a, r) y = LayerNormalization<axis=-1>(t, w, v) }}",
        against=("residual_sum",),
    ),
    Subject(
        "skip_rms_normalization",
        f"{_RESIDUAL} {{ t = Add(x, r) y = RMSNormalization<axis=-1>(t, w) }}",
    ),
)
