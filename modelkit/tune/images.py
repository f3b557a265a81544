"""Subjects of convolutions over images, between the 1x1 convolutions of bottlenecks."""

from modelkit.tune.subjects import HEAD, Subject

_POINTS = tuple({"b": b} for b in (1, 4))
_SMALLEST = ((48, 20), (64, 16), (96, 12))
"""Channels and sides at which the sums cost nearly what the products save."""
_USUAL = ((64, 56), (128, 28), (256, 14), (256, 28), (512, 14))


def _bottlenecks(channels: int, side: int) -> str:
    body = "".join(
        f" a{i} = Conv(x{i}, v{i}) c{i} = Conv<pads=[1, 1, 1, 1]>(a{i}, w{i}, b{i})"
        f" x{i + 1} = Relu(c{i})"
        for i in range(2)
    )
    weights = ", ".join(
        f"float[{channels}, {channels}, 1, 1] v{i}, float[{channels}, {channels}, 3, 3] w{i},"
        f" float[{channels}] b{i}"
        for i in range(2)
    )
    shape = f"float[b, {channels}, {side}, {side}]"
    return (
        f"{HEAD} ({shape} x) => ({shape} y) <{weights}> {{ x0 = Identity(x) {body} y = Abs(x2) }}"
    )


def _pooled(side: int) -> str:
    window = "kernel_shape=[1280, 1280], strides=[1280, 1280], ceil_mode=1"
    return f"""{HEAD} (float[b, 192, {side}, {side}] x) => (float[b, 100] y)
    <float[1280, 192, 1, 1] w, float[1280] c, float[1280, 100] v> {{
    a = Conv(x, w, c) r = Relu(a) p = AveragePool<{window}>(r) f = Flatten(p) y = MatMul(f, v) }}"""


def _pixels(width: int, side: int) -> str:
    """Linear layers over the pixels of an image, channels last, as in ConvNeXt."""
    return f"""{HEAD} (float[b, {side}, {side}, {width}] x) => (float[b, {side}, {side}, {width}] y)
    <float[{width}] g, float[{width}] h, float[{width}, {4 * width}] w, float[{4 * width}] c,
     float[{4 * width}, {width}] v, float[{width}] d> {{
    n = LayerNormalization<axis=-1>(x, g, h) p = MatMul(n, w) q = Add(p, c) a = Gelu(q)
    r = MatMul(a, v) s = Add(r, d) y = Add(s, x) }}"""


IMAGES: tuple[Subject, ...] = (
    *(
        Subject(
            "linear_as_conv",
            _pixels(width, side),
            _POINTS,
            also=("activation_as_image",),
            name=f"pixels {width} {side}x{side}",
        )
        for width, side in ((96, 32), (96, 56), (192, 32))
    ),
    *(
        Subject("average_pool_whole", _pooled(side), _POINTS, name=f"{side}x{side}")
        for side in (4, 7, 14)
    ),
    *(
        Subject("winograd", _bottlenecks(channels, side), _POINTS, name=f"{channels} {side}x{side}")
        for channels, side in (*_SMALLEST, *_USUAL)
    ),
)
