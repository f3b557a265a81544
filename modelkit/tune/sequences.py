"""Subjects of convolutions over sequences: feature extractors, vocoders, depthwise mixers."""

from modelkit.tune.subjects import HEAD, Subject


def _points(*lengths: int) -> tuple[dict[str, int], ...]:
    return tuple({"b": b, "n": n} for b in (1, 4) for n in lengths)


def _extractor(channels: int) -> str:
    """Layers that halve the length, as in Wav2Vec2."""
    body = "".join(f" c{i} = Conv<strides=[2]>(x{i}, w{i}) x{i + 1} = Gelu(c{i})" for i in range(3))
    weights = ", ".join(f"float[{channels}, {channels}, 3] w{i}" for i in range(3))
    return f"""{HEAD} (float[b, {channels}, n] x) => (float[b, {channels}, m] y) <{weights}>
    {{ x0 = Identity(x) {body} y = Relu(x3) }}"""


def _vocoder(channels: int, width: int) -> str:
    """Residual blocks of growing dilation, as in HiFi-GAN."""
    body, weights, near = "x0 = Identity(x)", [], (width - 1) // 2
    for i, step in enumerate((1, 3, 5)):
        far = near * step
        weights += [f"float[{channels}, {channels}, {width}] {name}{i}" for name in "vw"]
        weights += [f"float[{channels}] {name}{i}" for name in "cd"]
        body += f"""
        p{i} = LeakyRelu<alpha=0.1>(x{i})
        q{i} = Conv<pads=[{far}, {far}], dilations=[{step}]>(p{i}, v{i}, c{i})
        r{i} = LeakyRelu<alpha=0.1>(q{i}) s{i} = Conv<pads=[{near}, {near}]>(r{i}, w{i}, d{i})
        x{i + 1} = Add(s{i}, x{i})"""
    return f"""{HEAD} (float[b, {channels}, n] x) => (float[b, {channels}, n] y)
    <{", ".join(weights)}> {{ {body} y = Relu(x3) }}"""


_MIXER = f"""{HEAD} (float[b, 256, n] x) => (float[b, 256, n] y)
    <float[256, 1, 31] w, float[256] c, float[256, 256, 1] v, float[256] d> {{
    p = Conv<pads=[15, 15], group=256>(x, w, c) q = Relu(p) r = Conv(q, v, d) y = Relu(r) }}"""


def _columns(channels: int, height: int, size: int) -> str:
    """Layers over sound that stands in columns, as in CREPE."""
    near = height // 2
    body = "".join(
        f" c{i} = Conv<pads=[{near}, 0, {near}, 0]>(x{i}, w{i}) r{i} = Relu(c{i})"
        f" x{i + 1} = MaxPool<kernel_shape=[2, 1], strides=[2, 1]>(r{i})"
        for i in range(3)
    )
    weights = ", ".join(f"float[{channels}, {channels}, {height}, 1] w{i}" for i in range(3))
    return f"""{HEAD} (float[b, {channels}, {size}, 1] x) => (float[b, {channels}, m, 1] y)
    <{weights}> {{ x0 = Identity(x) {body} y = Neg(x3) }}"""


SEQUENCES: tuple[Subject, ...] = (
    Subject(
        "activation_before_squeeze", _vocoder(64, 7), _points(512), base=("narrow_conv1d_as_image",)
    ),
    *(
        Subject("columns_as_rows", _columns(*sizes), ({"b": 1}, {"b": 4}), name=name)
        for name, sizes in (("16 of 63x1", (16, 63, 128)), ("128 of 9x1", (128, 9, 128)))
    ),
    *(
        Subject(fusion, text, points, also=("activation_before_squeeze",), name=name)
        for fusion, name, text, points in (
            ("conv1d_as_image", "extractor 512", _extractor(512), _points(500)),
            ("conv1d_as_image", "vocoder 128", _vocoder(128, 7), _points(500)),
            ("conv1d_as_image", "mixer 256", _MIXER, _points(16, 200)),
            ("narrow_conv1d_as_image", "vocoder 64", _vocoder(64, 7), _points(1000)),
            ("narrow_conv1d_as_image", "vocoder 32", _vocoder(32, 11), _points(2000)),
            ("narrow_conv1d_as_image", "vocoder 16", _vocoder(16, 3), _points(64)),
        )
    ),
)
