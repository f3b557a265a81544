"""Subjects of convolutions over images, between the 1x1 convolutions of bottlenecks."""

from modelkit.tune.subjects import HEAD, Subject

_POINTS = tuple({"b": b} for b in (1, 4))
_SMALLEST = ((48, 20), (64, 16), (96, 12))
"""Channels and sides at which the sums cost nearly what the products save."""
_USUAL = ((64, 56), (128, 28), (256, 14), (256, 28), (512, 14))
_OPEN = ((96, 4, 57), (128, 2, 112), (128, 4, 56), (256, 8, 29), (512, 8, 28))
"""Channels, pixels of an image in one of a map's, and sides of the map, which no model is told."""
_FIRST = ((96, 3, 2, 32), (224, 3, 2, 32), (224, 7, 2, 64), (224, 4, 4, 96), (224, 3, 1, 64))
"""Sides of an image, and of kernels, strides and filters of the convolution that reads it."""
_PATCHES = ((224, 16, 768), (224, 32, 768), (224, 14, 1024))
_SMALL_PATCHES = ((224, 16, 384), (224, 8, 384), (224, 4, 96), (64, 4, 32))
"""Sides of an image and of its patches, and filters."""
_REDUCED = ((64, 56, 8, 1), (32, 64, 8, 1), (128, 28, 4, 1), (320, 14, 2, 1), (160, 28, 1, 160))
"""Channels, sides, strides and groups of convolutions between layers over rows."""
_MIXED = ((56, 32), (28, 64), (14, 160))
"""Sides and channels of maps between whose layers neighbours are mixed."""
_GROUPED = ((32, 2, 56), (128, 4, 56), (112, 8, 28), (256, 8, 28), (96, 24, 28), (384, 24, 14))
"""Channels, those of a group, and sides."""
_ODD = ((44, 44, 28), (57, 57, 28), (150, 150, 14), (90, 1, 14), (58, 1, 28), (18, 1, 56),
        (24, 8, 56), (152, 8, 14), (168, 24, 14))  # fmt: skip
"""Channels, those of a group, and sides."""
_GATED = ((16, 64, 16, 56), (32, 128, 16, 42), (48, 288, 16, 28), (80, 480, 32, 14),
          (192, 1152, 48, 7))  # fmt: skip
"""Channels before and after widening, those of the squeeze, and sides."""
_WEIGHED = ((16, 96, 16, 112), (16, 32, 8, 112), (16, 48, 16, 80), (32, 64, 16, 80),
            (32, 144, 16, 56), (64, 128, 16, 56), (64, 256, 16, 40), (48, 240, 16, 28),
            (192, 1152, 48, 20), (128, 256, 32, 40))  # fmt: skip
"""The same, of maps large beside the weights."""
_WIDE = ((16, 96, 112), (24, 144, 80), (16, 64, 160), (32, 192, 64))
"""Channels before and after widening, and sides."""


def _bottlenecks(channels: int, side: int | str, groups: int = 1, pixels: int = 0) -> str:
    """With ``pixels``, behind a convolution that makes one of so many on each side of an image."""
    body = "".join(
        f" a{i} = Conv(x{i}, v{i})"
        f" c{i} = Conv<pads=[1, 1, 1, 1], group={groups}>(a{i}, w{i}, b{i}) x{i + 1} = Relu(c{i})"
        for i in range(2)
    )
    each = channels // groups
    weights = ", ".join(
        f"float[{channels}, {channels}, 1, 1] v{i}, float[{channels}, {each}, 3, 3] w{i},"
        f" float[{channels}] b{i}"
        for i in range(2)
    )
    image, first = f"float[b, {channels}, {side}, {side}]", "Identity(x)"
    result = image
    if pixels:
        image, first = "float[b, 3, h, h]", f"Conv<strides=[{pixels}, {pixels}]>(x, p)"
        weights += f", float[{channels}, 3, {pixels}, {pixels}] p"
    return f"{HEAD} ({image} x) => ({result} y) <{weights}> {{ x0 = {first} {body} y = Abs(x2) }}"


def _inverted(narrow: int, wide: int, side: int, stride: int, gate: bool) -> str:
    """An inverted residual behind another convolution, as MobileNets and EfficientNets have it."""
    squeeze = (
        """m = GlobalAveragePool(d) s = Conv(m, v1, c1) r = Relu(s) e = Conv(r, v2, c2)
        g = Sigmoid(e) t = Mul(d, g)"""
        if gate
        else ""
    )
    last = "t" if gate else "d"
    return f"""{HEAD} (float[b, 3, {2 * side}, {2 * side}] x) => (float[b, 32, n, n] y)
    <float[{narrow}, 3, 3, 3] w0, float[{narrow}] b0, float[{wide}, {narrow}, 1, 1] w1,
     float[{wide}] b1, float[{wide}, 1, 3, 3] w2, float[{wide}] b2, float[32, {wide}, 1, 1] w3,
     float[32] b3, float[16, {wide}, 1, 1] v1, float[16] c1, float[{wide}, 16, 1, 1] v2,
     float[{wide}] c2> {{
    p = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(x, w0, b0) q = Relu(p) a = Conv(q, w1, b1)
    sa = Sigmoid(a) u = Mul(a, sa)
    f = Conv<pads=[1, 1, 1, 1], strides=[{stride}, {stride}], group={wide}>(u, w2, b2)
    sf = Sigmoid(f) d = Mul(f, sf) {squeeze} o = Conv({last}, w3, b3) y = Relu(o) }}"""


def _gated(narrow: int, wide: int, squeezed: int, side: int) -> str:
    """Inverted residuals whose channels are gated by linear layers."""
    body, weights = "x0 = Identity(x)", []
    for n in range(2):
        weights += [f"float[{wide}, {narrow}, 1, 1] u{n}, float[{wide}] c{n}"]
        weights += [f"float[{wide}, 1, 3, 3] v{n}, float[{wide}] d{n}"]
        weights += [f"float[{wide}, {squeezed}] m{n}, float[{squeezed}] e{n}"]
        weights += [f"float[{squeezed}, {wide}] k{n}, float[{wide}] f{n}"]
        weights += [f"float[{narrow}, {wide}, 1, 1] w{n}, float[{narrow}] g{n}"]
        body += f"""
        a{n} = Conv(x{n}, u{n}, c{n}) sa{n} = Sigmoid(a{n}) r{n} = Mul(a{n}, sa{n})
        b{n} = Conv<group={wide}, pads=[1, 1, 1, 1]>(r{n}, v{n}, d{n})
        sb{n} = Sigmoid(b{n}) h{n} = Mul(b{n}, sb{n})
        p{n} = GlobalAveragePool(h{n}) q{n} = Flatten(p{n}) l{n} = Gemm(q{n}, m{n}, e{n})
        i{n} = Relu(l{n}) j{n} = Gemm(i{n}, k{n}, f{n}) s{n} = Sigmoid(j{n})
        t{n} = Reshape(s{n}, row) z{n} = Mul(h{n}, t{n}) o{n} = Conv(z{n}, w{n}, g{n})
        x{n + 1} = Add(o{n}, x{n})"""
    shape = f"float[b, {narrow}, {side}, {side}]"
    return f"""{HEAD} ({shape} x) => ({shape} y) <{", ".join(weights)}> {{
    row = Constant<value_ints=[0, {wide}, 1, 1]>() {body} y = Abs(x2) }}"""


def _mixed(side: int, width: int) -> str:
    """Blocks over the pixels of an image whose hidden layer mixes neighbours, as in PVT v2."""
    wide, body, weights = 8 * width, "x0 = Identity(x)", []
    for n in range(2):
        weights += [f"float[{width}] g{n}", f"float[{width}, {wide}] w{n}", f"float[{wide}] b{n}"]
        weights += [f"float[{wide}, 1, 3, 3] d{n}", f"float[{wide}, {width}] v{n}"]
        body += f"""
        e{n} = LayerNormalization<axis=-1>(x{n}, g{n}) m{n} = MatMul(e{n}, w{n})
        h{n} = Add(m{n}, b{n}) t{n} = Transpose<perm=[0, 2, 1]>(h{n}) i{n} = Reshape(t{n}, image)
        c{n} = Conv<pads=[1, 1, 1, 1], group={wide}>(i{n}, d{n}) r{n} = Reshape(c{n}, rows)
        s{n} = Transpose<perm=[0, 2, 1]>(r{n}) a{n} = Gelu(s{n}) o{n} = MatMul(a{n}, v{n})
        x{n + 1} = Add(o{n}, x{n})"""
    shape = f"float[b, {side * side}, {width}]"
    return f"""{HEAD} ({shape} x) => ({shape} y) <{", ".join(weights)}> {{
    image = Constant<value_ints=[0, {wide}, {side}, {side}]>()
    rows = Constant<value_ints=[0, {wide}, {side * side}]>() {body} y = Abs(x2) }}"""


def _photo(side: int, kernel: int, stride: int, filters: int) -> str:
    """The first convolution of a network from TensorFlow."""
    return f"""{HEAD} (float[b, {side}, {side}, 3] x) => (float[b, {filters}, n, n] y)
    <float[{filters}, 3, {kernel}, {kernel}] w, float[{filters}] c> {{
    t = Transpose<perm=[0, 3, 1, 2]>(x) y0 = Conv<strides=[{stride}, {stride}]>(t, w, c)
    y1 = Relu(y0) y = MaxPool<kernel_shape=[3, 3], strides=[2, 2]>(y1) }}"""


def _patches(side: int, patch: int, filters: int, moved: bool) -> str:
    """The first convolution of a vision transformer; with ``moved`` its channels already last."""
    pixels = (side // patch) ** 2
    rows = (
        f"""l = Transpose<perm=[0, 2, 3, 1]>(c) r = Constant<value_ints=[0, {pixels}, {filters}]>()
        t = Reshape(l, r)"""
        if moved
        else f"""r = Constant<value_ints=[0, {filters}, {pixels}]>() f = Reshape(c, r)
        t = Transpose<perm=[0, 2, 1]>(f)"""
    )
    return f"""{HEAD} (float[b, 3, {side}, {side}] x) => (float[b, {pixels}, {filters}] y)
    <float[{filters}, 3, {patch}, {patch}] w, float[{filters}] v, float[{filters}] g> {{
    c = Conv<strides=[{patch}, {patch}]>(x, w, v) {rows} y = LayerNormalization(t, g) }}"""


def _reduced(channels: int, side: int, stride: int, groups: int) -> str:
    """A convolution over the rows that attention reads, as in PVT and SegFormer."""
    kernel, near = (3, 1) if groups > 1 else (stride, 0)
    return f"""{HEAD} (float[b, {side * side}, {channels}] x) => (float[b, {channels}, m, m] y)
    <float[{channels}, {channels // groups}, {kernel}, {kernel}] w, float[{channels}] v,
     float[{channels}] g> {{
    n = LayerNormalization(x, g) t = Transpose<perm=[0, 2, 1]>(n)
    r = Constant<value_ints=[0, {channels}, {side}, {side}]>() f = Reshape(t, r)
    c = Conv<strides=[{stride}, {stride}], pads=[{near}, {near}, {near}, {near}],
        group={groups}>(f, w, v) y = Relu(c) }}"""


_OPEN_ROWS = f"""{HEAD} (float[b, 3, h, w] x) => (float[b, 64, m, n] y)
    <float[64, 3, 4, 4] p, float[64] g, float[64, 1, 3, 3] w0, float[64] v> {{
    c = Conv<strides=[4, 4]>(x, p) s = Shape(c)
    f = Constant<value_ints=[0, 64, -1]>() i = Reshape(c, f) r = Transpose<perm=[0, 2, 1]>(i)
    n = LayerNormalization(r, g) t = Transpose<perm=[0, 2, 1]>(n) j = Reshape(t, s)
    y0 = Conv<pads=[1, 1, 1, 1], group=64>(j, w0, v) y = Relu(y0) }}"""


def _normalized(side: int | str) -> str:
    """An image's normalization by channel, and the first convolution that reads it."""
    return f"""{HEAD} (float[b, {side}, {side}, 3] x) => (float[b, 32, n, n] y)
    <float[3] mean, float[3] gain, float[32, 3, 3, 3] w, float[32] c> {{
    s = Sub(x, mean) m = Mul(s, gain) t = Transpose<perm=[0, 3, 1, 2]>(m)
    y0 = Conv<strides=[2, 2]>(t, w, c) y = Relu(y0) }}"""


def _grouped_norm(channels: int, groups: int, side: int) -> str:
    """A group normalization of Keras between convolutions."""
    each = f"1, 1, 1, {groups}, {channels // groups}"
    shape = f"float[b, {channels}, {side}, {side}]"
    return f"""{HEAD} ({shape} x) => ({shape} y)
    <float[{channels}, {channels}, 1, 1] w0, float[{channels}, {channels}, 1, 1] w1,
     float[{each}] g, float[{each}] h> {{
    eps = Constant<value_float=0.001>() axes = Constant<value_ints=[1, 2, 4]>()
    split = Constant<value_ints=[0, {side}, {side}, {groups}, {channels // groups}]>()
    back = Constant<value_ints=[0, {side}, {side}, {channels}]>()
    a = Conv(x, w0) l = Transpose<perm=[0, 2, 3, 1]>(a) r = Reshape(l, split)
    m = ReduceMean(r, axes) d = Sub(r, m) q = Mul(d, d) v = ReduceMean(q, axes) e = Add(v, eps)
    s = Sqrt(e) i = Reciprocal(s) f = Mul(i, g) p = Mul(r, f) k = Neg(m) t = Mul(k, f)
    c = Add(t, h) z = Add(p, c) u = Reshape(z, back) o = Transpose<perm=[0, 3, 1, 2]>(u)
    y = Conv(o, w1) }}"""


_BOXES = f"""{HEAD} (float[b, 8400, 4] x) => (float[b, 8400, 4] y) <float[4] gain> {{
    e = Exp(x) m = Mul(e, gain) y = Relu(m) }}"""

IMAGES: tuple[Subject, ...] = (
    *(
        Subject(
            "narrow_constant",
            _normalized(side),
            _POINTS,
            also=("channels_last_conv",),
            against=("channels_last_conv",),
            name=f"{side}x{side} pixels",
        )
        for side in (64, 224, 512)
    ),
    Subject(
        "narrow_constant",
        _normalized("h"),
        tuple({"b": b, "h": h} for b, h in ((1, 64), (1, 224), (4, 224))),
        also=("channels_last_conv",),
        against=("channels_last_conv",),
        name="open pixels",
    ),
    Subject("narrow_constant", _BOXES, _POINTS, name="8400 boxes"),
    *(
        Subject(
            "group_normalization",
            _grouped_norm(channels, groups, side),
            _POINTS,
            name=f"{groups} of {channels} {side}x{side}",
        )
        for channels, groups, side in ((32, 8, 64), (64, 8, 56), (320, 32, 32), (256, 32, 14))
    ),
    *(
        Subject(
            "channels_last_conv",
            _photo(side, kernel, stride, filters),
            _POINTS,
            name=f"{side}x{side} {kernel}x{kernel} by {stride}",
        )
        for side, kernel, stride, filters in _FIRST
    ),
    *(
        Subject(
            "patches_as_linear",
            _patches(side, patch, filters, moved=True),
            _POINTS,
            also=("linear_as_conv",) * (patch % 4 == 0),
            name=f"{filters} of {patch}x{patch}",
        )
        for side, patch, filters in _PATCHES
    ),
    *(
        Subject(
            "pixels_as_rows",
            _patches(side, patch, filters, moved=False),
            _POINTS,
            name=f"{filters} of {patch}x{patch}",
        )
        for side, patch, filters in (*_PATCHES, *_SMALL_PATCHES)
    ),
    *(
        Subject("rows_as_pixels", _reduced(*sizes), _POINTS, name=f"{sizes[0]} {sizes[1]} wide")
        for sizes in _REDUCED
    ),
    *(
        Subject(
            fusion,
            _OPEN_ROWS,
            tuple({"b": b, "h": h, "w": h} for b, h in ((1, 64), (1, 224), (4, 224))),
            base=("pixels_as_rows",) * (fusion == "rows_as_pixels"),
            name="open sides",
        )
        for fusion in ("pixels_as_rows", "rows_as_pixels")
    ),
    *(
        Subject(
            "linear_beside_conv",
            _mixed(side, width),
            _POINTS,
            against=("pixels_as_rows", "rows_as_pixels", "linear_as_conv"),
            name=f"{side}x{side} {width}",
        )
        for side, width in (*_MIXED, (7, 256))
    ),
    *(
        Subject("distinguish_dims", _mixed(side, width), _POINTS, name=f"{side}x{side} {width}")
        for side, width in _MIXED
    ),
    *(
        Subject(fusion, _bottlenecks(channels, side), _POINTS, name=f"{channels} {side}x{side}")
        for fusion, sizes in (("small_winograd", _SMALLEST), ("winograd", _USUAL))
        for channels, side in sizes
    ),
    *(
        Subject(
            "open_winograd",
            _bottlenecks(channels, "s", pixels=each),
            tuple({"b": b, "h": each * rows} for b, rows in ((1, side // 2), (1, side), (4, side))),
            name=f"{channels} of each {each}",
        )
        for channels, each, side in _OPEN
    ),
    *(
        Subject(
            "grouped_conv",
            _bottlenecks(channels, side, channels // each),
            _POINTS,
            name=f"{each} of {channels} {side}x{side}",
        )
        for channels, each, side in _GROUPED
    ),
    *(
        Subject(
            "fill_channels",
            _bottlenecks(channels, side, channels // each),
            _POINTS,
            also=("grouped_conv",) * (1 < each < channels),
            name=f"{each} of {channels} {side}x{side}",
        )
        for channels, each, side in _ODD
    ),
    *(
        Subject(
            fusion,
            _gated(*sizes),
            _POINTS,
            also=("gate_as_image",) * (fusion == "linear_squeeze"),
            against=("gate_as_image",) * (fusion == "linear_squeeze"),
            name=f"{sizes[1]} {sizes[3]}x{sizes[3]}",
        )
        for fusion in ("gate_as_image", "linear_squeeze")
        for sizes in _GATED
    ),
    *(
        Subject(
            "gate_in_weights",
            _gated(*sizes),
            _POINTS,
            against=("gate_as_image",),
            name=f"{sizes[0]} of {sizes[1]} {sizes[3]}x{sizes[3]}",
        )
        for sizes in _WEIGHED
    ),
    *(
        Subject(
            "inverted_residual",
            _inverted(narrow, wide, side, stride, gate),
            _POINTS,
            against=("gate_as_image",) * gate,
            name=f"{'gated ' * gate}{wide} {side}x{side} by {stride}",
        )
        for narrow, wide, side in _WIDE
        for stride in (1, 2)
        for gate in (False, True)
    ),
)
